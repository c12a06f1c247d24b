"""Sine and cosine to the last bits of f32. WGSL allows an error of 2^-11 for its own (W3C, "WebGPU Shading Language", accuracy of built-in
functions), and that is what a rotation of queries and keys then has: with it, logits of the q4f32_1 fixture were up to 5.4e-3 off on SwiftShader;
with these, 1.1e-4."""

from tvm import tirx
from tvm.tirx.op import register_intrin_lowering

# pi / 2 in three parts, the first two with trailing zeros, so that their products with a small whole number are exact (Cody & Waite 1980); the
# polynomials on [-pi / 4, pi / 4] are those of Moshier's Cephes library, sinf.c.
PARTS = (1.5703125, 4.837512969970703125e-4, 7.54978995489188216e-8)
SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)


def turned(x, quarter: int):
    """sin(x + quarter * pi / 2) of a number or of a vector."""
    lanes = x.ty.dtype.lanes

    def f32(value: float):
        number = tirx.const(value, "float32")
        return number if lanes == 1 else tirx.Broadcast(number, lanes)

    def horner(coefficients):
        value = f32(coefficients[0])
        for coefficient in coefficients[1:]:
            value = value * z + f32(coefficient)
        return value

    turns = tirx.floor(x * f32(0.6366197723675814) + f32(0.5))
    r = x - turns * f32(PARTS[0]) - turns * f32(PARTS[1]) - turns * f32(PARTS[2])
    z = r * r
    sine = r + r * z * horner(SINE)
    cosine = f32(1.0) - f32(0.5) * z + z * z * horner(COSINE)
    # Which of four quarters, in floats alone: what is made here may be widened to vectors afterwards, and casts are not.
    place = turns + f32(float(quarter))
    half = tirx.floor(place * f32(0.5))
    odd = place - f32(2.0) * half
    second = half - f32(2.0) * tirx.floor(half * f32(0.5))
    return (f32(1.0) - f32(2.0) * second) * ((f32(1.0) - odd) * sine + odd * cosine)


def lower_precisely() -> None:
    """From now on, these are what the WGSL of a sine or a cosine is."""
    for name, quarter in (("tirx.sin", 0), ("tirx.cos", 1)):
        register_intrin_lowering(name, "webgpu", f=lambda call, quarter=quarter: turned(call.args[0], quarter), level=99)
