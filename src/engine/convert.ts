// Numbers of weights from the types that files have into f32, and into packed f16. Each function takes a run of whole blocks.
import type { WeightType } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';

/** Bytes and numbers of one block: 1 number where there are no blocks. GGUF's `ggml-common.h` has the layouts. */
export const BLOCKS: Readonly<Record<WeightType, { readonly bytes: number; readonly numbers: number }>> = {
  f32: { bytes: 4, numbers: 1 },
  f16: { bytes: 2, numbers: 1 },
  bf16: { bytes: 2, numbers: 1 },
  q8_0: { bytes: 34, numbers: 32 },
  q4_0: { bytes: 18, numbers: 32 },
  q4_1: { bytes: 20, numbers: 32 },
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
  for (let i = 0; i < values.length; i++) {
    if (Math.abs(values[i]) > HIGHEST_F16) {
      throw new AppError(
        'model/f16-overflow',
        `A weight of this model is ${values[i].toPrecision(6)}, and 16-bit floats end at ${HIGHEST_F16}.`,
        {
          fix: 'Hold the model as 32-bit floats.',
          facts: { value: values[i] },
        },
      );
    }
    const x = words[i];
    const sign = (x >>> 16) & 0x8000;
    const magnitude = x & 0x7fffffff;
    if (magnitude > 0x7f800000)
      out[i] = sign | 0x7e00; // NaN
    else if (magnitude < 0x38800000) {
      // Below 2^-14: multiples of 2^-24. The scaled number is exact, and its rounding is done here, ties to even.
      const scaled = Math.abs(values[i]) * 2 ** 24;
      const floor = Math.floor(scaled);
      const rest = scaled - floor;
      out[i] = sign | (floor + (rest > 0.5 || (rest === 0.5 && (floor & 1) === 1) ? 1 : 0));
    } else out[i] = sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  return out;
}
