// Half-precision numbers as bits: IEEE binary16 (f16) and bfloat16. Conversions round to nearest, ties to even, as numpy, PyTorch and ggml do.

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The f16 nearest to a number (rounded to f32 first), as 16 bits. Above 65 519 it is infinity. */
export function toHalf(x: number): number {
  float[0] = x;
  return halfOfBits(word[0]);
}

function halfOfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const abs = bits & 0x7fffffff;
  if (abs >= 0x47800000) return abs > 0x7f800000 ? sign | 0x7e00 : sign | 0x7c00;
  if (abs < 0x38800000) {
    // Below 2^-14: a subnormal, a whole number of 2^-24.
    if (abs < 0x33000000) return sign;
    const shift = 126 - (abs >>> 23);
    const mantissa = (abs & 0x7fffff) | 0x800000;
    const whole = mantissa >>> shift;
    const rest = mantissa & ((1 << shift) - 1);
    const middle = 1 << (shift - 1);
    return sign | (whole + (rest > middle || (rest === middle && (whole & 1) === 1) ? 1 : 0));
  }
  const rebased = abs - 0x38000000;
  return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
}

/** The number that 16 bits of f16 stand for. */
export function fromHalf(bits: number): number {
  return halfTable()[bits & 0xffff];
}

/** The bfloat16 nearest to a number (rounded to f32 first), as 16 bits. */
export function toBrain(x: number): number {
  float[0] = x;
  return brainOfBits(word[0]);
}

function brainOfBits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The number that 16 bits of bfloat16 stand for. */
export function fromBrain(bits: number): number {
  word[0] = (bits & 0xffff) << 16;
  return float[0];
}

let table: Float32Array | undefined;
/** All 65 536 f16 values: 256 kB, made at first use; one look-up a number is the fastest way there is in JavaScript. */
function halfTable(): Float32Array {
  if (table !== undefined) return table;
  const made = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >>> 10) & 31;
    const mantissa = bits & 1023;
    let value: number;
    if (exponent === 31) value = mantissa === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
    else if (exponent === 0) value = mantissa * 2 ** -24;
    else value = (1 + mantissa / 1024) * 2 ** (exponent - 15);
    made[bits] = bits & 0x8000 ? -value : value;
  }
  table = made;
  return made;
}

/** f16 bits to f32, into `out` where given (at least as long). */
export function halvesToFloats(halves: Uint16Array, out: Float32Array = new Float32Array(halves.length)): Float32Array {
  const values = halfTable();
  for (let i = 0; i < halves.length; i++) out[i] = values[halves[i]];
  return out;
}

/** f32 to f16 bits, into `out` where given. */
export function floatsToHalves(floats: Float32Array, out: Uint16Array = new Uint16Array(floats.length)): Uint16Array {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  for (let i = 0; i < bits.length; i++) out[i] = halfOfBits(bits[i]);
  return out;
}

/** bfloat16 bits to f32, into `out` where given. */
export function brainsToFloats(brains: Uint16Array, out: Float32Array = new Float32Array(brains.length)): Float32Array {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < brains.length; i++) bits[i] = brains[i] << 16;
  return out;
}

/** f32 to bfloat16 bits, into `out` where given. */
export function floatsToBrains(floats: Float32Array, out: Uint16Array = new Uint16Array(floats.length)): Uint16Array {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  for (let i = 0; i < bits.length; i++) out[i] = brainOfBits(bits[i]);
  return out;
}
