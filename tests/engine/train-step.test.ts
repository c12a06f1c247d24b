// What one step is made of: dropout, micro-batches, chunks of labelled rows, parts of a network, memory, errors. Numbers against the reference network.
import { afterAll, describe, expect, test } from 'vitest';
import { lossChunks } from '../../src/engine/backward.ts';
import { createEngine } from '../../src/engine/engine.ts';
import { dropoutKeep } from '../../src/engine/reference.ts';
import { type ReferencePart, referenceModel } from '../../src/engine/reference-model.ts';
import type { AdamW, Batch, Engine, HostPart, StoragePlan } from '../../src/engine/types.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { rawTensors, stream, testEngine } from '../support/engine.ts';
import { fixtureConfig, fixtureTensors, worstDifference } from '../support/fixtures.ts';
import { testGpu } from '../support/gpu.ts';
import { loraParts, totalNorm, wholeModel } from '../support/training.ts';

const OPTIONS: AdamW = { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, clipNorm: 0 };
/** Gradients of f32 sums against f64 ones, relative to the norm over all tensors, as fixtures/README.md has it. */
const GRADIENT = 1e-5;

const engines = new Map<string, Promise<Engine>>();
function engineOf(folder: string, storage: StoragePlan = 'f32'): Promise<Engine> {
  const key = `${folder} ${storage}`;
  const made = engines.get(key) ?? testEngine(folder, storage);
  engines.set(key, made);
  return made;
}
afterAll(async () => {
  for (const engine of engines.values()) (await engine).dispose();
});

/** Random tokens; `share` of the positions have a target. */
function randomBatch(B: number, T: number, share: number, V: number, seed: number): { batch: Batch; count: number } {
  const random = seededRandom(seed);
  const tokens = Uint32Array.from({ length: B * T }, () => random.below(V));
  const targets = Int32Array.from({ length: B * T }, () => (random.next() < share ? random.below(V) : -1));
  targets[0] = 1;
  return { batch: { tokens, targets, shape: [B, T] }, count: targets.filter((target) => target >= 0).length };
}
const lora = (): HostPart[] => loraParts('train/llama/lora_scheduled/init.safetensors', (_, rank) => 8 / rank);

/** Gradients on the GPU and by the reference, which must agree to a share of their norm. */
async function compare(
  folder: string,
  parts: readonly HostPart[],
  made: ReturnType<typeof randomBatch>,
  storage: StoragePlan = 'f32',
  dropout = 0,
) {
  const engine = await engineOf(folder, storage);
  const patch = engine.createPatch(parts, { trainable: true, dropout, seed: 5 });
  const { batch, count } = made;
  engine.accumulate(batch, patch, count);
  const got = await engine.gradients(patch);
  const { loss } = await engine.update(patch, OPTIONS);
  const reference = referenceModel(fixtureConfig(folder), fixtureTensors(`${folder}/model.safetensors`));
  const truth = reference.lossAndGradients(batch, parts as readonly ReferencePart[], count, { dropout, seed: 5, counter: 0 });
  expect(Math.abs(loss - truth.loss), 'loss').toBeLessThanOrEqual(1e-5 * truth.loss);
  const norm = totalNorm(truth.gradients.values());
  for (const [name, gradient] of truth.gradients)
    expect(worstDifference(got.get(name)!, gradient), name).toBeLessThanOrEqual(GRADIENT * norm);
  engine.disposePatch(patch);
}

describe('gradients are those of the reference network', () => {
  test.each([
    { B: 1, T: 1, share: 1 },
    { B: 1, T: 9, share: 0 }, // one target in all
    { B: 3, T: 17, share: 0.5 },
    { B: 2, T: 101, share: 0.4 }, // 202 tokens, four chunks of 56 rows, two of them used
    { B: 2, T: 101, share: 1 },
  ])('of LoRA on $B x $T tokens, $share of them labelled', async ({ B, T, share }) => {
    await compare('models/llama', lora(), randomBatch(B, T, share, 288, B * T));
  });
  test('of LoRA under dropout, whose masks are dropoutKeep', async () => {
    expect(dropoutKeep(5, 0, 3, 7, 0.25)).toBeOneOf([0, 1 / 0.75]);
    await compare('models/llama', lora(), randomBatch(2, 33, 0.5, 288, 3), 'f32', 0.25);
  });
  test('of LoRA over f16 weights', () => compare('models/llama_f16', lora(), randomBatch(2, 21, 0.5, 288, 4), 'f16'));
  test('of every tensor under an untied head, with stretched rotary frequencies', () =>
    compare('models/llama3_untied', wholeModel('models/llama3_untied/model.safetensors'), randomBatch(2, 40, 0.7, 288, 5)));
  test.each([
    [['model.norm.weight']],
    [['lm_head.weight']],
    [['model.embed_tokens.weight']],
    [['model.layers.1.mlp.down_proj.weight']],
    [['model.layers.1.mlp.up_proj.weight', 'model.layers.1.mlp.gate_proj.weight']],
    [['model.layers.1.post_attention_layernorm.weight']],
    [['model.layers.1.self_attn.o_proj.weight']],
    [['model.layers.1.self_attn.k_proj.weight']],
    [['model.layers.0.input_layernorm.weight', 'model.layers.1.self_attn.v_proj.weight']],
  ])('of %s alone, however far down that is', async (names) => {
    const parts = wholeModel('models/llama3_untied/model.safetensors').filter(
      (part) => part.kind === 'weights' && names.includes(part.name),
    );
    await compare('models/llama3_untied', parts, randomBatch(2, 12, 0.5, 288, 6));
  });
  test('of LoRA on some linears of some layers, with ranks that are no multiples of 4', async () => {
    const random = seededRandom(8);
    const tensor = (name: string, shape: readonly number[]) => ({
      name,
      shape,
      data: Float32Array.from({ length: shape[0] * shape[1] }, () => random.next() - 0.5),
    });
    const parts = (['q_proj', 'v_proj', 'up_proj', 'down_proj'] as const).map((linear, i): HostPart => {
      const [out, input, R] = [
        { q_proj: 64, v_proj: 32, up_proj: 128, down_proj: 64 }[linear],
        linear === 'down_proj' ? 128 : 64,
        [1, 6, 3, 9][i],
      ];
      return {
        kind: 'low-rank',
        site: { layer: i % 2, linear },
        A: tensor(`${linear} A`, [R, input]),
        B: tensor(`${linear} B`, [out, R]),
        scale: 0.3 * (i + 1),
      };
    });
    await compare('models/llama', parts, randomBatch(2, 19, 0.6, 288, 9), 'f32', 0.1);
  });
});

test('8 micro-batches of one row add up to the gradient of one batch of 8', async () => {
  const engine = await engineOf('models/llama');
  const { batch, count } = randomBatch(8, 24, 0.5, 288, 10);
  const patch = engine.createPatch(lora(), { trainable: true });
  engine.accumulate(batch, patch, count);
  const whole = await engine.gradients(patch);
  const { loss } = await engine.update(patch, { ...OPTIONS, lr: 0 });
  for (let row = 0; row < 8; row++) {
    const own = <T extends Uint32Array | Int32Array>(x: T) => x.slice(24 * row, 24 * row + 24) as T;
    engine.accumulate({ tokens: own(batch.tokens), targets: own(batch.targets), shape: [1, 24] }, patch, count);
  }
  const parts = await engine.gradients(patch);
  const norm = totalNorm(whole.values());
  for (const [name, gradient] of whole) expect(worstDifference(parts.get(name)!, gradient), name).toBeLessThanOrEqual(1e-6 * norm);
  const report = await engine.update(patch, { ...OPTIONS, lr: 0 });
  expect(Math.abs(report.loss - loss)).toBeLessThanOrEqual(1e-6 * loss);
  engine.disposePatch(patch);
});

test('after the first step of a shape no buffer, bind group or pipeline is made, and a step reads back once', async () => {
  const engine = await engineOf('models/llama');
  const { device } = await testGpu();
  const patch = engine.createPatch(lora(), { trainable: true, dropout: 0.1 });
  const step = async (seed: number) => {
    const [one, two] = [randomBatch(2, 16, 0.5, 288, seed), randomBatch(2, 16, 0.1, 288, seed + 1)];
    for (const { batch } of [one, two]) engine.accumulate(batch, patch, one.count + two.count);
    await engine.update(patch, OPTIONS);
  };
  await step(1);
  const made: string[] = [];
  const methods = ['createBuffer', 'createBindGroup', 'createComputePipelineAsync'] as const;
  const spies = methods.map((name) => {
    const own = device[name].bind(device) as (...args: unknown[]) => unknown;
    const value = (...args: unknown[]): unknown => {
      made.push(name);
      return own(...args);
    };
    Object.defineProperty(device, name, { configurable: true, value });
    return () => Reflect.deleteProperty(device, name);
  });
  const prototype: { mapAsync: (...args: unknown[]) => unknown } = Object.getPrototypeOf(device.createBuffer({ size: 4, usage: 8 }));
  made.length = 0;
  const mapAsync = prototype.mapAsync;
  let maps = 0;
  prototype.mapAsync = function (...args) {
    maps++;
    return mapAsync.apply(this, args);
  };
  try {
    await step(3);
    await step(5);
  } finally {
    prototype.mapAsync = mapAsync;
    for (const restore of spies) restore();
  }
  expect(made).toEqual([]);
  expect(maps).toBe(2);
  engine.disposePatch(patch);
});

describe('memory', () => {
  test('what holds the chunks of M tokens holds those of any fewer, and a chunk of logits stays within a binding', () => {
    for (const V of [288, 49152, 151936, 262144]) {
      let [rows, places] = [0, 0];
      for (let M = 1; M <= 2100; M++) {
        const chunks = lossChunks(M, { V });
        expect(chunks.count * chunks.rows).toBeGreaterThanOrEqual(M);
        expect(chunks.stride % 64 === 0 && chunks.stride >= chunks.rows).toBe(true);
        rows = Math.max(rows, chunks.rows);
        places = Math.max(places, chunks.count * chunks.stride);
        expect(chunks.most, `${M} tokens`).toBeGreaterThanOrEqual(rows);
        expect(chunks.count * chunks.stride, `${M} tokens`).toBe(places);
        expect(chunks.most * V * 4).toBeLessThanOrEqual(128 * 1024 * 1024);
      }
    }
  });
  test.each([
    { kind: 'low-rank', parts: lora },
    { kind: 'weights', parts: () => wholeModel('models/llama/model.safetensors') },
  ] as const)('what planTraining says is what $kind takes, and disposePatch gives it back', async ({ kind, parts }) => {
    const engine = await testEngine('models/llama');
    const before = engine.memory;
    const patch = engine.createPatch(parts(), { trainable: true });
    const values = [...patch.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    const planned = engine.planTraining([2, 90], values, kind);
    for (const [B, T] of [
      [2, 90],
      [1, 20],
      [3, 60],
    ]) {
      const { batch, count } = randomBatch(B, T, 0.5, 288, 1);
      engine.accumulate(batch, patch, count);
      await engine.update(patch, OPTIONS); // smaller shapes and others of the same size take no more
      const { weights, activations, training } = engine.memory;
      expect({
        weights: weights - before.weights,
        activations: activations - before.activations,
        training: training - before.training,
      }).toEqual(planned);
    }
    const larger = randomBatch(2, 120, 0.5, 288, 1);
    engine.accumulate(larger.batch, patch, larger.count);
    await engine.update(patch, OPTIONS);
    expect(engine.memory.activations - before.activations).toBe(engine.planTraining([2, 120], values, kind).activations);
    engine.disposePatch(patch);
    expect(engine.memory).toEqual(before);
    engine.dispose();
  });

  test('a batch over the limit is refused with the numbers before anything is taken, and a smaller one then trains', async () => {
    const raw = rawTensors('models/llama/model.safetensors');
    const config = fixtureConfig('models/llama');
    const free = await testEngine('models/llama');
    const values = 8192;
    const { weights } = free.memory;
    const plan = free.planTraining([2, 32], values);
    free.dispose();
    const memoryLimit = weights + plan.activations + plan.training;
    const engine = await createEngine(await testGpu(), { config, tensors: () => stream(raw) }, { storage: 'f32', memoryLimit });
    const patch = engine.createPatch(lora(), { trainable: true });
    const [large, small] = [randomBatch(8, 32, 0.5, 288, 1), randomBatch(2, 32, 0.5, 288, 1)];
    const held = engine.memory;
    engine.accumulate(large.batch, patch, large.count);
    await expect(engine.update(patch, OPTIONS)).rejects.toMatchObject({
      code: 'gpu/out-of-memory',
      why: expect.stringContaining('The batch of 8 × 32 tokens is the largest part'),
      fix: expect.stringMatching(/batch size to [1-3],/),
    });
    expect(engine.memory.activations).toBe(held.activations);
    engine.accumulate(small.batch, patch, small.count);
    expect((await engine.update(patch, OPTIONS)).loss).toBeGreaterThan(0);
    engine.dispose();
  });
});

describe('errors', () => {
  test('what is wrong with a micro-batch is thrown by the update, and the next step starts clean', async () => {
    const engine = await engineOf('models/llama');
    const patch = engine.createPatch(lora(), { trainable: true });
    const { batch, count } = randomBatch(2, 8, 0.5, 288, 1);
    engine.accumulate(batch, patch, count);
    const { loss, gradNorm } = await engine.update(patch, { ...OPTIONS, lr: 0 });
    engine.accumulate(batch, patch, count);
    engine.accumulate({ ...batch, targets: batch.targets.map(() => 288) }, patch, count);
    await expect(engine.update(patch, OPTIONS)).rejects.toMatchObject({ code: 'engine/bad-batch' });
    engine.accumulate(batch, patch, 0);
    await expect(engine.update(patch, OPTIONS)).rejects.toMatchObject({ code: 'engine/bad-batch' });
    engine.accumulate(batch, patch, count);
    expect(await engine.update(patch, { ...OPTIONS, lr: 0 })).toEqual({ loss, gradNorm });
    engine.disposePatch(patch);
  });
  test('a patch for use alone is not trained, and a state of another patch is not loaded', async () => {
    const engine = await engineOf('models/llama');
    const [use, train] = [engine.createPatch(lora(), { trainable: false }), engine.createPatch(lora(), { trainable: true })];
    const { batch, count } = randomBatch(1, 8, 0.5, 288, 1);
    expect(() => engine.accumulate(batch, use, count)).toThrow(expect.objectContaining({ code: 'engine/not-trainable' }));
    const other = engine.createPatch(lora().slice(0, 3), { trainable: true });
    const state = await engine.saveState(other);
    expect(() => engine.loadState(train, state)).toThrow(expect.objectContaining({ code: 'engine/other-state' }));
    for (const patch of [use, train, other]) engine.disposePatch(patch);
  });
});
