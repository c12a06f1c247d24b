// Blocks of 32 weights as ggml stores them, byte for byte as llama-quantize and the Python package gguf write them.
//   q8_0  34 bytes: f16 d, 32 x int8 q;                  w = d q
//   q4_0  18 bytes: f16 d, 16 bytes of two 4-bit q;      w = d (q - 8)
//   q4_1  20 bytes: f16 d, f16 m, 16 bytes of 4-bit q;   w = d q + m
//   q4f16_1  18 bytes: f16 s, 16 bytes of 4-bit u;       w = s (u - 7), rounded to f16 as MLC does
//   q4f32_1  20 bytes: f32 s, 16 bytes of 4-bit u;       w = s (u - 7)
// The last two are groups of MLC (mlc-llm, quantization/group_quantization.py), where byte j holds weights 2 j (low half) and 2 j + 1.
// In both 4-bit kinds of GGUF byte j holds weight j in its low half and weight j + 16 in its high half.
import { AppError } from '../lib/error.ts';
import { bytesOf, floats32, words16 } from './bytes.ts';
import { brainsToFloats, floatsToBrains, floatsToHalves, fromHalf, halvesToFloats, toHalf } from './half.ts';
import type { WeightType } from './types.ts';

/** Weights and bytes of one block. A plain number is a block of one. */
export const BLOCK: Readonly<Record<WeightType, { readonly weights: number; readonly bytes: number }>> = {
  f32: { weights: 1, bytes: 4 },
  f16: { weights: 1, bytes: 2 },
  bf16: { weights: 1, bytes: 2 },
  q8_0: { weights: 32, bytes: 34 },
  q4_0: { weights: 32, bytes: 18 },
  q4_1: { weights: 32, bytes: 20 },
  q4f16_1: { weights: 32, bytes: 18 },
  q4f32_1: { weights: 32, bytes: 20 },
};

/** Bytes that `count` weights take. @throws 'format/header' where they do not fill whole blocks. */
export function byteLength(dtype: WeightType, count: number): number {
  const block = BLOCK[dtype];
  if (count % block.weights !== 0)
    throw new AppError('format/header', `${count} weights do not fill whole blocks of ${block.weights} (${dtype}).`, {
      facts: { dtype, count },
    });
  return (count / block.weights) * block.bytes;
}

function checkLength(bytes: Uint8Array, dtype: WeightType, count: number): void {
  const needed = byteLength(dtype, count);
  if (bytes.length < needed)
    throw new AppError('format/truncated', `${count} weights of type ${dtype} take ${needed} bytes and ${bytes.length} are there.`, {
      facts: { dtype, count, needed, size: bytes.length },
    });
}

/** Weights as f32. For aligned f32 bytes this is a view of them, not a copy. */
export function toF32(bytes: Uint8Array, dtype: WeightType, count: number): Float32Array {
  checkLength(bytes, dtype, count);
  if (dtype === 'f32') return floats32(bytes, count);
  return dequantizeInto(bytes, dtype, new Float32Array(count));
}

/** Weights as f16, two in a 32-bit word (the first in the low half); an odd count leaves the last high half 0. Length ceil(count / 2). */
export function toF16Packed(bytes: Uint8Array, dtype: WeightType, count: number): Uint32Array {
  checkLength(bytes, dtype, count);
  const packed = new Uint32Array(Math.ceil(count / 2));
  const halves = new Uint16Array(packed.buffer, 0, count);
  if (dtype === 'f16') {
    bytesOf(halves).set(bytes.subarray(0, count * 2));
    return packed;
  }
  // By pieces, so that a big tensor is not in memory as f32 as well.
  const piece = 1 << 16;
  const block = BLOCK[dtype];
  const floats = new Float32Array(Math.min(piece, count));
  for (let i = 0; i < count; i += piece) {
    const n = Math.min(piece, count - i);
    const start = (i / block.weights) * block.bytes;
    const part = bytes.subarray(start, start + byteLength(dtype, n));
    const source = dtype === 'f32' ? floats32(part, n) : dequantizeInto(part, dtype, floats.subarray(0, n));
    floatsToHalves(source, halves.subarray(i, i + n));
  }
  return packed;
}

/** f32 numbers to bytes of a type. For the quantized types the count must fill whole blocks. */
export function fromF32(values: Float32Array, dtype: WeightType): Uint8Array {
  if (dtype === 'f32') return bytesOf(values);
  if (dtype === 'f16') return bytesOf(floatsToHalves(values));
  if (dtype === 'bf16') return bytesOf(floatsToBrains(values));
  const out = new Uint8Array(byteLength(dtype, values.length));
  const quantizeBlock = { q8_0: quantizeQ8, q4_0: quantizeQ4, q4_1: quantizeQ41, q4f16_1: quantizeQ4Half, q4f32_1: quantizeQ4Float }[dtype];
  const size = BLOCK[dtype].bytes;
  for (let b = 0; b * 32 < values.length; b++) quantizeBlock(values, b * 32, out, b * size);
  return out;
}

function dequantizeInto(bytes: Uint8Array, dtype: WeightType, out: Float32Array): Float32Array {
  const count = out.length;
  if (dtype === 'f32') {
    out.set(floats32(bytes, count));
    return out;
  }
  if (dtype === 'f16') return halvesToFloats(words16(bytes, count), out);
  if (dtype === 'bf16') return brainsToFloats(words16(bytes, count), out);
  if (dtype === 'q4f16_1' || dtype === 'q4f32_1') return dequantizeGroups(bytes, dtype, out);
  let at = 0;
  for (let i = 0; i < count; i += 32) {
    const d = fromHalf(bytes[at] | (bytes[at + 1] << 8));
    if (dtype === 'q8_0') {
      for (let j = 0; j < 32; j++) out[i + j] = d * ((bytes[at + 2 + j] << 24) >> 24);
      at += 34;
    } else if (dtype === 'q4_0') {
      for (let j = 0; j < 16; j++) {
        const q = bytes[at + 2 + j];
        out[i + j] = d * ((q & 15) - 8);
        out[i + j + 16] = d * ((q >>> 4) - 8);
      }
      at += 18;
    } else {
      const m = fromHalf(bytes[at + 2] | (bytes[at + 3] << 8));
      // The product is rounded to f32 before the sum, as ggml and the gguf package do.
      for (let j = 0; j < 16; j++) {
        const q = bytes[at + 4 + j];
        out[i + j] = Math.fround(d * (q & 15)) + m;
        out[i + j + 16] = Math.fround(d * (q >>> 4)) + m;
      }
      at += 20;
    }
  }
  return out;
}

function dequantizeGroups(bytes: Uint8Array, dtype: 'q4f16_1' | 'q4f32_1', out: Float32Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const halves = dtype === 'q4f16_1';
  const width = halves ? 2 : 4;
  for (let i = 0, at = 0; i < out.length; i += 32, at += width + 16) {
    const scale = halves ? fromHalf(view.getUint16(at, true)) : view.getFloat32(at, true);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + width + j];
      const low = scale * ((pair & 15) - 7);
      const high = scale * ((pair >>> 4) - 7);
      out[i + 2 * j] = halves ? fromHalf(toHalf(low)) : low;
      out[i + 2 * j + 1] = halves ? fromHalf(toHalf(high)) : high;
    }
  }
  return out;
}

const f = Math.fround;

function putHalf(out: Uint8Array, at: number, x: number): void {
  const bits = toHalf(x);
  out[at] = bits & 255;
  out[at + 1] = bits >>> 8;
}

function quantizeQ8(x: Float32Array, i: number, out: Uint8Array, at: number): void {
  let largest = 0;
  for (let j = 0; j < 32; j++) largest = Math.max(largest, Math.abs(x[i + j]));
  const d = f(largest / 127);
  const inverse = d === 0 ? 0 : f(1 / d);
  putHalf(out, at, d);
  for (let j = 0; j < 32; j++) {
    const scaled = f(x[i + j] * inverse);
    // Half away from zero, as C's roundf.
    const whole = Math.floor(Math.abs(scaled) + 0.5);
    out[at + 2 + j] = scaled < 0 ? -whole : whole;
  }
}

function quantizeQ4(x: Float32Array, i: number, out: Uint8Array, at: number): void {
  let largest = 0;
  let signed = 0;
  for (let j = 0; j < 32; j++) {
    if (Math.abs(x[i + j]) > largest) {
      largest = Math.abs(x[i + j]);
      signed = x[i + j];
    }
  }
  const d = f(signed / -8);
  const inverse = d === 0 ? 0 : f(1 / d);
  putHalf(out, at, d);
  // Product and sum in f64: this is what llama-quantize's fused multiply-add gives.
  for (let j = 0; j < 16; j++) {
    const low = Math.min(15, Math.max(0, Math.trunc(x[i + j] * inverse + 8.5)));
    const high = Math.min(15, Math.max(0, Math.trunc(x[i + j + 16] * inverse + 8.5)));
    out[at + 2 + j] = low | (high << 4);
  }
}

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
  for (let j = 0; j < 16; j++) {
    const low = Math.min(15, Math.trunc(f(f(f(x[i + j] - min) * inverse) + 0.5)));
    const high = Math.min(15, Math.trunc(f(f(f(x[i + j + 16] - min) * inverse) + 0.5)));
    out[at + 4 + j] = low | (high << 4);
  }
}

/** MLC's rule in f32: the scale is the largest magnitude over 7; codes are 0 to 14, halves rounded away from zero. A group of zeros has scale 0 and code 7. */
function quantizeQ4Float(x: Float32Array, i: number, out: Uint8Array, at: number): void {
  let largest = 0;
  for (let j = 0; j < 32; j++) largest = Math.max(largest, Math.abs(x[i + j]));
  const scale = f(largest / 7);
  new DataView(out.buffer, out.byteOffset).setFloat32(at, scale, true);
  const code = (w: number): number => (scale === 0 ? 7 : Math.min(14, Math.max(0, Math.floor(f(f(w / scale) + 7) + 0.5))));
  for (let j = 0; j < 16; j++) out[at + 4 + j] = code(x[i + 2 * j]) | (code(x[i + 2 * j + 1]) << 4);
}

/** The same rule in f16: the weights are rounded first, and so is every result on the way. */
function quantizeQ4Half(x: Float32Array, i: number, out: Uint8Array, at: number): void {
  const h = (n: number): number => fromHalf(toHalf(n));
  let largest = 0;
  for (let j = 0; j < 32; j++) largest = Math.max(largest, Math.abs(h(x[i + j])));
  const scale = h(largest / 7);
  putHalf(out, at, scale);
  const code = (w: number): number => (scale === 0 ? 7 : Math.min(14, Math.max(0, Math.floor(h(h(h(w) / scale) + 7) + 0.5))));
  for (let j = 0; j < 16; j++) out[at + 2 + j] = code(x[i + 2 * j]) | (code(x[i + 2 * j + 1]) << 4);
}
