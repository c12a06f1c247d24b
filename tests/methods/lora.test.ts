import { expect, test } from 'vitest';
import { makeBatch, makeBatches, paddedLength, rateShare, targetsOf, trainingOrder } from '../../src/methods/batches.ts';
import { buildLora, lora, loraParameters, loraScale } from '../../src/methods/lora.ts';
import { linearParameters, parameters } from '../../src/methods/model-size.ts';
import { declarations, methodById } from '../../src/methods/registry.ts';
import type { Encoded } from '../../src/text/types.ts';
import { fixtureConfig } from '../support/fixtures.ts';

const model = fixtureConfig('models/llama');
const large = { ...model, C: 2048, L: 16, NH: 32, NKV: 8, HS: 64, F: 8192, V: 128_256, context: 4096 };
const shape = { rank: 4, alpha: 8, rsLora: false, targets: ['q_proj', 'k_proj', 'down_proj'] };

test('first factors: A uniform in 1 / sqrt(in), B zero, PEFT’s names and shapes, one stream of the seed a tensor', () => {
  const parts = buildLora(shape, model, 7);
  expect(parts.map((part) => (part.kind === 'low-rank' ? `${part.site.layer} ${part.site.linear}` : part.kind))).toEqual(
    [0, 1].flatMap((layer) => shape.targets.map((linear) => `${layer} ${linear}`)),
  );
  const [first] = parts;
  if (first.kind !== 'low-rank') throw new Error('not low-rank');
  expect(first.A.name).toBe('base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight');
  expect(first.B.name).toBe('base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight');
  expect([first.A.shape, first.B.shape]).toEqual([
    [4, 64],
    [64, 4],
  ]);
  expect(first.B.data.every((x) => x === 0)).toBe(true);
  const bound = 1 / Math.sqrt(64);
  expect(first.A.data.every((x) => Math.abs(x) <= bound)).toBe(true);
  // 256 uniform numbers: their variance is bound^2 / 3, give or take a quarter.
  const variance = first.A.data.reduce((sum, x) => sum + x * x, 0) / first.A.data.length;
  expect(variance / (bound ** 2 / 3)).toBeGreaterThan(0.75);
  expect(variance / (bound ** 2 / 3)).toBeLessThan(1.25);
  expect(buildLora(shape, model, 7)).toEqual(parts);
  expect(buildLora(shape, model, 8)).not.toEqual(parts);
  // Other targets leave a tensor's numbers as they are.
  expect(buildLora({ ...shape, targets: ['q_proj'] }, model, 7)[0]).toEqual(first);
});

test('the scale is alpha / rank, and alpha / sqrt(rank) with rsLoRA', () => {
  expect(loraScale({ rank: 16, alpha: 32, rsLora: false })).toBe(2);
  expect(loraScale({ rank: 16, alpha: 32, rsLora: true })).toBe(8);
  const [part] = buildLora({ ...shape, rsLora: true }, model, 7);
  expect(part.kind === 'low-rank' && part.scale).toBe(4);
});

test('sizes: parameters of the fixture and of its factors', () => {
  // Two layers of 64 wide: q, o 64 x 64; k, v 32 x 64; gate, up, down 128 x 64.
  expect(linearParameters(model)).toBe(2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64));
  expect(parameters(model)).toBe(linearParameters(model) + 288 * 64 + 5 * 64);
  const factors = buildLora(shape, model, 7).flatMap((part) => (part.kind === 'low-rank' ? [part.A, part.B] : []));
  expect(loraParameters(shape, model)).toBe(factors.reduce((sum, tensor) => sum + tensor.data.length, 0));
});

test('the rate that a form starts with depends on the model', () => {
  const rate = (of: typeof model): unknown => methodById('lora').declaration(of).settings.learningRate.default;
  expect(rate(model)).toBe(5e-3);
  expect(rate(large)).toBe(2e-4);
  expect(lora.read({}, model).learningRate).toBe(5e-3);
  expect(declarations().map(({ id }) => id)).toEqual(['prompt', 'lora']);
  expect(structuredClone(declarations(model))).toEqual(declarations(model));
});

test('settings that are not allowed are named with what is', () => {
  expect(() => lora.read({ rank: 0 }, model)).toThrow(
    expect.objectContaining({ code: 'method/bad-setting', why: 'Allowed is a whole number from 1 to 256.' }),
  );
  expect(() => lora.read({ rank: 2.5 }, model)).toThrow(expect.objectContaining({ code: 'method/bad-setting' }));
  expect(() => lora.read({ targets: ['lm_head'] }, model)).toThrow(expect.objectContaining({ code: 'method/bad-setting' }));
  expect(() => lora.read({ schedule: 'sawtooth' }, model)).toThrow(expect.objectContaining({ code: 'method/bad-setting' }));
  expect(() => lora.read({ learningRate: Number.NaN }, model)).toThrow(expect.objectContaining({ code: 'method/bad-setting' }));
  expect(lora.read({ targets: ['v_proj', 'q_proj'], rsLora: true, rank: 64 }, model)).toMatchObject({
    targets: ['q_proj', 'v_proj'],
    rsLora: true,
    rank: 64,
  });
  expect(() => methodById('magic')).toThrow(expect.objectContaining({ code: 'method/unknown' }));
});

test('an estimate grows with passes, and its bytes with the micro-batch', () => {
  const data = { rows: 80, tokens: 16_000, trainedTokens: 3200, longestRow: 256 };
  const estimate = (raw: object): { seconds: number; bytes: number } =>
    methodById('lora').estimate({ ...raw }, large, data, { flopsPerSecond: 1e12 });
  const once = estimate({ epochs: 1 });
  expect(estimate({ epochs: 3 }).seconds).toBeCloseTo(3 * once.seconds, 6);
  // 16 000 tokens x about 4 x 0.97 billion weights in linears, at 1 TFLOP/s and a quarter more.
  expect(once.seconds).toBeGreaterThan(60);
  expect(once.seconds).toBeLessThan(120);
  expect(estimate({ microBatch: 4 }).bytes).toBeGreaterThan(estimate({ microBatch: 1 }).bytes);
  expect(estimate({ recompute: true }).bytes).toBeLessThan(estimate({}).bytes);
  expect(estimate({ recompute: true }).seconds / estimate({}).seconds).toBeGreaterThan(1.2);
  expect(estimate({ recompute: true }).seconds / estimate({}).seconds).toBeLessThan(1.6);
  expect(methodById('lora').training({ recompute: true }, large, data)).toMatchObject({ recompute: true });
  expect(methodById('lora').training({ epochs: 3, batch: 4 }, large, data)).toMatchObject({ steps: 60, shape: [2, 256] });
  expect(methodById('prompt').training({}, large, data)).toBeUndefined();
});

test('every pass takes every row once, in an order of its own', () => {
  const order = trainingOrder(10, 3, 4, 7);
  expect(order.map((step) => step.length)).toEqual([4, 4, 2, 4, 4, 2, 4, 4, 2]);
  const passes = [0, 3, 6].map((at) => order.slice(at, at + 3).flat());
  for (const pass of passes) expect([...pass].sort((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, i) => i));
  expect(passes[0]).not.toEqual(passes[1]);
  expect(trainingOrder(10, 3, 4, 7)).toEqual(order);
});

test('rates: the warm-up starts above 0, a cosine ends near it, a line falls evenly', () => {
  const all = (schedule: 'constant' | 'linear' | 'cosine', warmup: number): number[] =>
    Array.from({ length: 10 }, (_, i) => rateShare(schedule, warmup, i, 10));
  expect(all('constant', 0.3)).toEqual([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]);
  expect(all('linear', 0)[5]).toBeCloseTo(0.5, 12);
  expect(all('cosine', 0)[0]).toBe(1);
  expect(all('cosine', 0)[9]).toBeCloseTo(0.5 * (1 + Math.cos(0.9 * Math.PI)), 12);
});

function encoded(ids: readonly number[], promptLength: number): Encoded {
  const mask = Uint8Array.from(ids, (_, i) => (i >= promptLength ? 1 : 0));
  return { tokens: Uint32Array.from(ids), mask, promptLength, stopId: 9, answerAlone: false, rewritesTurns: false };
}

test('a batch predicts each trained token from the one before it, and pads with nothing to predict', () => {
  const { tokens, targets, shape: BT } = makeBatch([encoded([1, 2, 3, 9], 2), encoded([4, 5, 9], 2)], 256);
  expect(BT).toEqual([2, 32]);
  expect([...tokens.slice(0, 4)]).toEqual([1, 2, 3, 0]);
  expect([...targets.slice(0, 4)]).toEqual([-1, 3, 9, -1]);
  expect([...targets.slice(32, 36)]).toEqual([-1, 9, -1, -1]);
  expect(targetsOf([{ tokens, targets, shape: BT }])).toBe(3);
});

test('rows of like length share a micro-batch, and no padding is over a quarter', () => {
  const rows = [5, 40, 6, 41].map((n) =>
    encoded(
      Array.from({ length: n }, () => 1),
      2,
    ),
  );
  const batches = makeBatches(rows, [0, 1, 2, 3], 2, 256);
  expect(batches.map(({ shape: [B, T] }) => [B, T])).toEqual([
    [2, 64],
    [2, 32],
  ]);
  for (let n = 129; n <= 4096; n++) expect(paddedLength(n, 8192) / n).toBeLessThanOrEqual(1.25);
  expect(paddedLength(250, 250)).toBe(250);
  expect(paddedLength(1, 256)).toBe(32);
});
