import { expect, test } from 'vitest';
import type { HostTensor } from '../../src/engine/types.ts';
import type { PortableAdapter } from '../../src/formats/types.ts';
import { adapterOf, partsOf } from '../../workers/engine/adapters.ts';
import { fileStem } from '../../workers/engine/file-stem.ts';
import { weightTypes } from '../../workers/engine/models.ts';

const q = {
  module: 'model.layers.1.self_attn.q_proj',
  rank: 2,
  alpha: 4,
  A: Float32Array.of(1, 2, 3, 4, 5, 6),
  B: Float32Array.of(7, 8, 9, 10),
  inFeatures: 3,
  outFeatures: 2,
};
const adapter: PortableAdapter = { kind: 'lora', rank: 2, alpha: 4, rsLora: false, dropout: 0.1, modules: [q] };

test('an adapter becomes parts with PEFT names and its scale, and parts become the adapter again', () => {
  const [part] = partsOf(adapter);
  if (part?.kind !== 'low-rank') throw new Error('no low-rank part');
  expect(part.site).toEqual({ layer: 1, linear: 'q_proj' });
  expect(part.scale).toBe(2);
  expect(part.A.name).toBe('base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight');
  const tensors = new Map<string, HostTensor>([part.A, part.B].map((tensor) => [tensor.name, tensor]));
  expect(adapterOf(tensors, { rank: 2, alpha: 4, rsLora: false, dropout: 0.1 })).toEqual(adapter);
});

test("rsLoRA's scale is alpha over the square root of the rank", () => {
  const [part] = partsOf({ ...adapter, rsLora: true });
  expect(part?.kind === 'low-rank' && part.scale).toBeCloseTo(4 / Math.SQRT2, 12);
});

test('a module that no decoder layer has is an adapter for another base', () => {
  const foreign = { ...adapter, modules: [{ ...q, module: 'transformer.h.0.attn.c_attn' }] };
  expect(() => partsOf(foreign)).toThrowError(expect.objectContaining({ code: 'adapter/other-base' }));
});

test('half a pair of factors, or something else, is no adapter', () => {
  const numbers = { rank: 2, alpha: 4, rsLora: false, dropout: 0 };
  const A: HostTensor = { name: 'base_model.model.m.lora_A.weight', shape: [2, 3], data: q.A };
  for (const tensors of [new Map([[A.name, A]]), new Map([['model.norm.weight', A]])]) {
    expect(() => adapterOf(tensors, numbers)).toThrowError(expect.objectContaining({ code: 'adapter/unsupported' }));
  }
});

test.each([
  ['Small add-on weights (LoRA)', 'small-add-on-weights-lora'],
  ['../../etc/passwd', 'etc-passwd'],
  ['Übersetzer', 'ubersetzer'],
  ['日本語', '日本語'],
  ['***', 'maquette'],
])('%j is saved as %s', (name, stem) => {
  expect(fileStem(name)).toBe(stem);
});

test('storage types are those of the matrices, most bytes first', () => {
  const tensor = (dtype: 'f32' | 'q4_1' | 'q8_0', bytes: number, shape: readonly number[]) => ({ name: 'x', dtype, bytes, shape });
  expect(weightTypes([tensor('q8_0', 10, [2, 32]), tensor('q4_1', 90, [4, 32]), tensor('f32', 900, [64])])).toBe('Q4_1 and Q8_0');
});
