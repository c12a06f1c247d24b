import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseGguf } from '../../src/formats/gguf.ts';
import { regroupRows } from '../../src/formats/gguf-source.ts';
import {
  brainsToFloats,
  floatsToBrains,
  floatsToHalves,
  fromBrain,
  fromHalf,
  halvesToFloats,
  toBrain,
  toHalf,
} from '../../src/formats/half.ts';
import { byteLength, fromF32, toF16Packed, toF32 } from '../../src/formats/quant.ts';
import { readSafetensors, tensorFloats } from '../../src/formats/safetensors.ts';
import type { WeightType } from '../../src/formats/types.ts';
import { AppError } from '../../src/lib/error.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { fixtureBytes } from '../support/files.ts';

describe('half floats', () => {
  test('all 65 536 f16 and bf16 values come back as themselves', () => {
    const all = Uint16Array.from({ length: 65_536 }, (_, i) => i);
    const isNaN16 = (bits: number): boolean => (bits & 0x7fff) > 0x7c00;
    const halves = floatsToHalves(halvesToFloats(all));
    const brains = floatsToBrains(brainsToFloats(all));
    for (let i = 0; i < 65_536; i++) {
      if (isNaN16(i)) expect(isNaN16(halves[i])).toBe(true);
      else if (halves[i] !== i) throw new Error(`f16 ${i.toString(16)}`);
      if ((i & 0x7fff) > 0x7f80) expect((brains[i] & 0x7fff) > 0x7f80).toBe(true);
      else if (brains[i] !== i) throw new Error(`bf16 ${i.toString(16)}`);
    }
  });

  test.each<[number, number]>([
    [0, 0],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [65_504, 0x7bff],
    [65_519.996, 0x7bff],
    [65_520, 0x7c00],
    [1e9, 0x7c00],
    [Number.NEGATIVE_INFINITY, 0xfc00],
    [2 ** -24, 1],
    [2 ** -25, 0], // a tie, to even
    [1.0000001 * 2 ** -25, 1],
    [3 * 2 ** -25, 2], // a tie, to even
    [2 ** -14, 0x0400],
    [1023.5 * 2 ** -24, 0x0400], // the largest subnormal rounds up to the smallest normal
    [1 + 2 ** -11, 0x3c00], // ties to even
    [1 + 3 * 2 ** -11, 0x3c02],
    [1 + 2 ** -11 + 2 ** -20, 0x3c01],
  ])('%d is f16 0x%s', (x, bits) => {
    expect(toHalf(x)).toBe(bits);
  });

  test('rounding is to the nearest of the two neighbours, for any f32', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, min: -65000, max: 65000 }), (x) => {
        const bits = toHalf(x);
        const error = Math.abs(fromHalf(bits) - x);
        for (const neighbour of [bits - 1, bits + 1])
          if (((neighbour ^ bits) & 0x8000) === 0) expect(Math.abs(fromHalf(neighbour) - x)).toBeGreaterThanOrEqual(error);
        const brain = toBrain(x);
        const brainError = Math.abs(fromBrain(brain) - x);
        for (const neighbour of [brain - 1, brain + 1])
          if (((neighbour ^ brain) & 0x8000) === 0) expect(Math.abs(fromBrain(neighbour) - x)).toBeGreaterThanOrEqual(brainError);
      }),
      { numRuns: 2000, seed: 5 },
    );
    expect(toBrain(1 + 2 ** -8)).toBe(0x3f80);
    expect(toBrain(1 + 3 * 2 ** -8)).toBe(0x3f82);
    expect(toBrain(3.4e38)).toBe(0x7f80);
  });
});

/** The fixture model's weights in GGUF's row order, by GGUF name. */
function original(name: string, file: ReturnType<typeof readSafetensors>): Float32Array {
  const hf = name
    .replace('token_embd', 'model.embed_tokens')
    .replace(/^blk\.(\d+)\./, 'model.layers.$1.')
    .replace('attn_output', 'self_attn.o_proj')
    .replace(/attn_([qkv])\./, 'self_attn.$1_proj.')
    .replace(/ffn_(gate|up|down)\./, 'mlp.$1_proj.');
  const tensor = file.tensors.get(hf);
  if (tensor === undefined) throw new Error(hf);
  const heads = hf.includes('q_proj') ? 4 : hf.includes('k_proj') ? 2 : 0;
  const bytes = heads === 0 ? tensor.bytes : regroupRows(tensor.bytes, tensor.shape[0], heads, 'to-gguf');
  return tensorFloats({ ...tensor, bytes });
}

describe('blocks', () => {
  test.each<[string, WeightType]>([
    ['gguf_q8_0', 'q8_0'],
    ['gguf_q4_0', 'q4_0'],
    ['gguf_q4_1', 'q4_1'],
    ['gguf_f16', 'f16'],
  ])('quantizing the fixture model gives the bytes of %s', (folder, dtype) => {
    const model = readSafetensors(fixtureBytes('models/llama/model.safetensors'));
    const bytes = fixtureBytes(`quant/llama/${folder}/model.gguf`);
    let compared = 0;
    for (const info of parseGguf(bytes).tensors.values()) {
      if (info.type.name.toLowerCase() !== dtype) continue;
      expect(fromF32(original(info.name, model), dtype), info.name).toEqual(bytes.slice(info.start, info.end));
      compared++;
    }
    expect(compared).toBe(15);
  });

  test('regrouping rows back and forth changes nothing', () => {
    const rows = Uint8Array.from({ length: 48 * 5 }, (_, i) => i);
    const there = regroupRows(rows, 48, 6, 'to-gguf');
    expect(there).not.toEqual(rows);
    expect(regroupRows(there, 48, 6, 'to-hugging-face')).toEqual(rows);
    // Row (head 0, half 1, i 0) of 8 rows a head is row 4 here and row 1 in a GGUF.
    expect(there.slice(5, 10)).toEqual(rows.slice(20, 25));
  });

  const random = seededRandom(7);
  const values = Float32Array.from({ length: 200 * 32 + 32 }, () => (random.next() - 0.5) * 4);

  test.each<WeightType>(['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q4f16_1', 'q4f32_1'])(
    '%s: packed f16 is f16 of the f32 values, from bytes at any offset',
    (dtype) => {
      const bytes = fromF32(values, dtype);
      expect(bytes.length).toBe(byteLength(dtype, values.length));
      const floats = toF32(bytes, dtype, values.length);
      const odd = new Uint8Array(bytes.length + 1);
      odd.set(bytes, 1);
      expect(toF32(odd.subarray(1), dtype, values.length)).toEqual(floats);
      const packed = toF16Packed(odd.subarray(1), dtype, values.length);
      expect(packed).toHaveLength(values.length / 2);
      expect(new Uint16Array(packed.buffer)).toEqual(floatsToHalves(floats));
    },
  );

  test('an odd count leaves the last high half 0, and more than one piece is put together right', () => {
    const many = Float32Array.from({ length: 70_001 }, (_, i) => (i % 2048) - 1000);
    const packed = toF16Packed(fromF32(many, 'f32'), 'f32', many.length);
    expect(packed).toHaveLength(35_001);
    expect(packed[35_000] >>> 16).toBe(0);
    expect(halvesToFloats(new Uint16Array(packed.buffer, 0, many.length))).toEqual(many);
  });

  test('a block of zeros is zeros, and half blocks and short bytes are refused', () => {
    for (const dtype of ['q8_0', 'q4_0', 'q4_1', 'q4f16_1', 'q4f32_1'] as const)
      expect(toF32(fromF32(new Float32Array(32), dtype), dtype, 32).every((x) => x === 0)).toBe(true);
    expect(() => byteLength('q4_0', 33)).toThrow(AppError);
    expect(() => toF32(new Uint8Array(17), 'q4_0', 32)).toThrow(AppError);
  });
});
