// Recomputation: each layer's input is kept and the rest made again on the way back. And what a step may ask of a device, counted by wrapping it.
import { afterAll, describe, expect, test } from 'vitest';
import { countGpu } from '../../src/cli/bench/count-gpu.ts';
import { loraParts as allLinears, loraValues, randomTensors, randomTokens, SHAPES } from '../../src/cli/bench/shapes.ts';
import { createEngine } from '../../src/engine/engine.ts';
import { openGpu } from '../../src/engine/gpu.ts';
import type { AdamW, Batch, Engine, HostPart } from '../../src/engine/types.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { testEngine } from '../support/engine.ts';
import { dawn } from '../support/gpu.ts';
import { loraParts, wholeModel } from '../support/training.ts';

const OPTIONS: AdamW = { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, clipNorm: 1 };
const lora = (): HostPart[] => loraParts('train/llama/lora_scheduled/init.safetensors', (_, rank) => 8 / rank);
const linearsOf =
  (...linears: string[]) =>
  (): HostPart[] =>
    lora().filter((part) => part.kind === 'low-rank' && linears.includes(part.site.linear));

function randomBatch(B: number, T: number, V: number, seed: number): { batch: Batch; count: number } {
  const random = seededRandom(seed);
  const tokens = Uint32Array.from({ length: B * T }, () => random.below(V));
  const targets = Int32Array.from({ length: B * T }, () => (random.next() < 0.6 ? random.below(V) : -1));
  targets[0] = 1;
  return { batch: { tokens, targets, shape: [B, T] }, count: targets.filter((target) => target >= 0).length };
}

let opened: Promise<Engine> | undefined;
const llama = (): Promise<Engine> => {
  opened ??= testEngine('models/llama');
  return opened;
};
afterAll(async () => (await opened)?.dispose());

/** Gradients of the first step, reports of three steps on batches of several shapes, and the trained numbers. */
async function train(engine: Engine, parts: readonly HostPart[], recompute: boolean, dropout: number) {
  const before = engine.memory.activations;
  const patch = engine.createPatch(parts, { trainable: true, dropout, seed: 3, recompute });
  const reports = [];
  let gradients: ReadonlyMap<string, Float32Array> = new Map();
  for (const [step, [B, T]] of [
    [2, 33],
    [1, 20],
    [3, 16],
  ].entries()) {
    const { batch, count } = randomBatch(B, T, engine.config.V, step + 1);
    engine.accumulate(batch, patch, 2 * count);
    engine.accumulate(batch, patch, 2 * count);
    if (step === 0) gradients = await engine.gradients(patch);
    reports.push(await engine.update(patch, OPTIONS));
  }
  const activations = engine.memory.activations - before;
  const trained = [...(await engine.readPatch(patch))].map(([name, { data }]) => [name, data] as const);
  engine.disposePatch(patch);
  expect(engine.memory.activations).toBe(before);
  return { gradients, reports, trained, activations };
}

describe('recomputation gives the same bits in less memory', () => {
  test.each([
    { what: 'LoRA on all linears', parts: lora, dropout: 0 },
    { what: 'LoRA with dropout', parts: lora, dropout: 0.2 },
    { what: 'LoRA on q and v', parts: linearsOf('q_proj', 'v_proj'), dropout: 0 },
    { what: 'LoRA on down', parts: linearsOf('down_proj'), dropout: 0.1 },
    { what: 'all weights', parts: () => wholeModel('models/llama/model.safetensors'), dropout: 0 },
  ])('$what', async ({ parts, dropout }) => {
    const engine = await llama();
    const kept = await train(engine, parts(), false, dropout);
    const again = await train(engine, parts(), true, dropout);
    expect([...again.gradients]).toEqual([...kept.gradients]);
    expect([...kept.gradients.values()].some((gradient) => gradient.some((x) => x !== 0))).toBe(true);
    expect(again.reports).toEqual(kept.reports);
    expect(again.trained).toEqual(kept.trained);
    expect(again.activations).toBeLessThan(kept.activations);
  });

  test.each([
    { kind: 'low-rank', parts: lora },
    { kind: 'weights', parts: () => wholeModel('models/llama/model.safetensors') },
  ] as const)('what is planned for $kind is what is allocated', async ({ kind, parts }) => {
    const engine = await llama();
    const before = engine.memory;
    const patch = engine.createPatch(parts(), { trainable: true, recompute: true });
    const values = [...patch.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    const { batch, count } = randomBatch(2, 90, engine.config.V, 1);
    engine.accumulate(batch, patch, count);
    await engine.update(patch, OPTIONS);
    const { activations, training } = engine.planTraining([2, 90], values, kind, true);
    expect(engine.memory).toEqual({
      weights: before.weights,
      activations: before.activations + activations,
      training: before.training + training,
    });
    engine.disposePatch(patch);
  });
});

describe('a step of configuration A', () => {
  test.each([
    { recompute: false, most: 250 },
    { recompute: true, most: 310 },
  ])('recomputation $recompute: at most $most dispatches, and no buffer after the first step', { timeout: 120_000 }, async (limits) => {
    const shape = SHAPES.find(({ name }) => name === 'A');
    if (shape === undefined) throw new Error('no shape A');
    const { config, B, T, rank } = shape;
    const gpu = await openGpu(dawn());
    const counts = countGpu(gpu.device);
    const engine = await createEngine(gpu, { config, tensors: () => randomTensors(config) }, { storage: 'f32' });
    const held = counts.live;
    const patch = engine.createPatch(allLinears(config, rank), { trainable: true, recompute: limits.recompute });
    const tokens = randomTokens('batch', B * T, config.V);
    const step = async (): Promise<number> => {
      engine.accumulate({ tokens, targets: Int32Array.from(tokens), shape: [B, T] }, patch, B * T);
      return (await engine.update(patch, OPTIONS)).loss;
    };
    const first = await step();
    let made = 0;
    const createBuffer = gpu.device.createBuffer.bind(gpu.device);
    gpu.device.createBuffer = (descriptor) => {
      made++;
      return createBuffer(descriptor);
    };
    counts.dispatches = 0;
    expect(await step()).toBeLessThan(first);
    const { dispatches } = counts;
    console.log(
      `A, recomputation ${limits.recompute}: ${dispatches} dispatches, ${((counts.live - held) / 2 ** 20).toFixed(1)} MiB beside the weights`,
    );
    expect(made).toBe(0);
    expect(dispatches).toBeGreaterThan(100);
    expect(dispatches).toBeLessThanOrEqual(limits.most);
    const planned = engine.planTraining([B, T], loraValues(config, rank), 'low-rank', limits.recompute);
    expect(Math.abs(counts.live - held - planned.activations - planned.training)).toBeLessThan(0.1 * (counts.live - held));
    engine.disposePatch(patch);
    engine.dispose();
    gpu.device.destroy();
  });
});
