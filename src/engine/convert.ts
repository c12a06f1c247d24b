// Numbers of weights from one type that files have into another: widened to f32, narrowed to f16, quantized to blocks. Each function takes a run of whole
// blocks. All of it gives the bits that src/formats/quant.ts gives, which are those of llama-quantize and the Python package gguf. MLC's groups are only widened.
import type { WeightType } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';

/** Bytes and numbers of one block: 1 number where there are no blocks. GGUF's `ggml-common.h` has the layouts, formats/quant.ts that of MLC's groups. */
export const BLOCKS: Readonly<Record<WeightType, { readonly bytes: number; readonly numbers: number }>> = {
  f32: { bytes: 4, numbers: 1 },
  f16: { bytes: 2, numbers: 1 },
  bf16: { bytes: 2, numbers: 1 },
  q8_0: { bytes: 34, numbers: 32 },
  q4_0: { bytes: 18, numbers: 32 },
  q4_1: { bytes: 20, numbers: 32 },
  q4f16_1: { bytes: 18, numbers: 32 },
  q4f32_1: { bytes: 20, numbers: 32 },
};
const HIGHEST_F16 = 65504;

/** Bytes of n numbers, n a multiple of the block. */
export function encodedBytes(dtype: WeightType, n: number): number {
  return (n / BLOCKS[dtype].numbers) * BLOCKS[dtype].bytes;
}

/** Every number, exactly, as f32. `bytes` may begin anywhere in its buffer. */
export function widen(dtype: WeightType, bytes: Uint8Array): Float32Array {
  if (dtype === 'f32') return new Float32Array(bytes.slice().buffer);
  if (dtype === 'f16') return halves(new Uint16Array(bytes.slice().buffer));
  if (dtype === 'bf16') {
    const bits = new Uint16Array(bytes.slice().buffer);
    const words = new Uint32Array(bits.length);
    for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
    return new Float32Array(words.buffer);
  }
  const size = BLOCKS[dtype].bytes;
  const blocks = bytes.length / size;
  const out = new Float32Array(blocks * 32);
  if (dtype === 'q4f16_1' || dtype === 'q4f32_1') return widenGroups(bytes, dtype);
  const half = (at: number): number => halfToFloat(bytes[at] | (bytes[at + 1] << 8));
  for (let b = 0; b < blocks; b++) {
    const at = b * size;
    const scale = half(at);
    if (dtype === 'q8_0') {
      for (let j = 0; j < 32; j++) out[32 * b + j] = scale * ((bytes[at + 2 + j] << 24) >> 24);
      continue;
    }
    const low = dtype === 'q4_1' ? half(at + 2) : 0;
    const nibbles = at + (dtype === 'q4_1' ? 4 : 2);
    const number = (nibble: number): number => (dtype === 'q4_1' ? scale * nibble + low : scale * (nibble - 8));
    for (let j = 0; j < 16; j++) {
      out[32 * b + j] = number(bytes[nibbles + j] & 15);
      out[32 * b + 16 + j] = number(bytes[nibbles + j] >> 4);
    }
  }
  return out;
}

/** MLC's groups. In q4f16_1 the product is rounded to f16: it is exact in f32 and a multiple of 2^-24, so 13 bits are rounded away and no more. */
function widenGroups(bytes: Uint8Array, dtype: 'q4f16_1' | 'q4f32_1'): Float32Array {
  const size = BLOCKS[dtype].bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Float32Array((bytes.length / size) * 32);
  for (let i = 0, at = 0; i < out.length; i += 32, at += size) {
    const scale = dtype === 'q4f16_1' ? halfToFloat(view.getUint16(at, true)) : view.getFloat32(at, true);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + size - 16 + j];
      out[i + 2 * j] = scale * ((pair & 15) - 7);
      out[i + 2 * j + 1] = scale * ((pair >> 4) - 7);
    }
  }
  if (dtype === 'q4f32_1') return out;
  const bits = new Uint32Array(out.buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] + 0xfff + ((bits[i] >>> 13) & 1)) & ~0x1fff;
  return out;
}

let everyHalf: Float32Array | undefined;
/** Each half as f32, from a table of all 65 536: models have hundreds of millions of them. */
export function halves(bits: Uint16Array): Float32Array {
  everyHalf ??= Float32Array.from({ length: 65536 }, (_, half) => halfToFloat(half));
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = everyHalf[bits[i]];
  return out;
}
/** IEEE 754 binary16, exactly. */
export function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** To binary16, to nearest, ties to even; an even count, two to a u32. @throws 'model/f16-overflow' for a number that f16 cannot hold */
export function narrow(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = halfOf(values[i], words[i]);
  return out;
}
/** Of a number and its bits as f32. */
function halfOf(value: number, bits: number): number {
  if (Math.abs(value) > HIGHEST_F16) {
    throw new AppError(
      'model/f16-overflow',
      `A weight of this model is ${value.toPrecision(6)}, and 16-bit floats end at ${HIGHEST_F16}.`,
      {
        fix: 'Hold the model as it is, or as 32-bit floats.',
        facts: { value },
      },
    );
  }
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  // Below 2^-14: multiples of 2^-24. The scaled number is exact, and its rounding is done here, ties to even.
  const scaled = Math.abs(value) * 2 ** 24;
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  return sign | (floor + (rest > 0.5 || (rest === 0.5 && (floor & 1) === 1) ? 1 : 0));
}

/** From one type to another: untouched where they are one. To bf16 and MLC's groups nothing is converted. @throws 'model/f16-overflow' */
export function encode(from: WeightType, bytes: Uint8Array, to: WeightType): Uint8Array {
  if (from === to) return bytes;
  const values = widen(from, bytes);
  const made =
    to === 'f32'
      ? values
      : to === 'f16'
        ? narrow(values)
        : to === 'bf16' || to === 'q4f16_1' || to === 'q4f32_1'
          ? undefined
          : quantize(to, values);
  if (made === undefined) throw new AppError('engine/conversion', `Weights of type ${from} are not turned into ${to}.`);
  return new Uint8Array(made.buffer, made.byteOffset, made.byteLength);
}

/** Blocks of 32 numbers, each rounded to its block's scale. @throws 'model/f16-overflow' where a scale is beyond f16 */
export function quantize(type: 'q8_0' | 'q4_0' | 'q4_1', values: Float32Array): Uint8Array {
  const out = new Uint8Array(encodedBytes(type, values.length));
  const block = type === 'q8_0' ? quantizeQ8 : type === 'q4_0' ? quantizeQ4 : quantizeQ41;
  for (let b = 0; b * 32 < values.length; b++) block(values, b * 32, out, b * BLOCKS[type].bytes);
  return out;
}
const f = Math.fround;
const float = new Float32Array(1);
const floatBits = new Uint32Array(float.buffer);
function putHalf(out: Uint8Array, at: number, x: number): void {
  float[0] = x;
  const bits = halfOf(x, floatBits[0]);
  out[at] = bits & 255;
  out[at + 1] = bits >>> 8;
}
/** w = d q: d is the largest magnitude over 127. */
function quantizeQ8(x: Float32Array, i: number, out: Uint8Array, at: number): void {
  let largest = 0;
  for (let j = 0; j < 32; j++) largest = Math.max(largest, Math.abs(x[i + j]));
  const d = f(largest / 127);
  const inverse = d === 0 ? 0 : f(1 / d);
  putHalf(out, at, d);
  for (let j = 0; j < 32; j++) {
    const scaled = f(x[i + j] * inverse);
    const whole = Math.floor(Math.abs(scaled) + 0.5); // half away from zero, as C's roundf
    out[at + 2 + j] = scaled < 0 ? -whole : whole;
  }
}
/** w = d (q - 8): d is the number of the largest magnitude over -8, so that it is met exactly. */
function quantizeQ4(x: Float32Array, i: number, out: Uint8Array, at: number): void {
  let signed = 0;
  for (let j = 0; j < 32; j++) if (Math.abs(x[i + j]) > Math.abs(signed)) signed = x[i + j];
  const d = f(signed / -8);
  const inverse = d === 0 ? 0 : f(1 / d);
  putHalf(out, at, d);
  // Product and sum in f64: this is what llama-quantize's fused multiply-add gives.
  const q = (value: number): number => Math.min(15, Math.max(0, Math.trunc(value * inverse + 8.5)));
  for (let j = 0; j < 16; j++) out[at + 2 + j] = q(x[i + j]) | (q(x[i + j + 16]) << 4);
}
/** w = d q + m: m is the smallest number, d the range over 15. */
function quantizeQ41(x: Float32Array, i: number, out: Uint8Array, at: number): void {
  let min = x[i];
  let max = x[i];
  for (let j = 1; j < 32; j++) {
    min = Math.min(min, x[i + j]);
    max = Math.max(max, x[i + j]);
  }
  const d = f(f(max - min) / 15);
  const inverse = d === 0 ? 0 : f(1 / d);
  putHalf(out, at, d);
  putHalf(out, at + 2, min);
  const q = (value: number): number => Math.min(15, Math.trunc(f(f(f(value - min) * inverse) + 0.5)));
  for (let j = 0; j < 16; j++) out[at + 4 + j] = q(x[i + j]) | (q(x[i + j + 16]) << 4);
}
