// A run can be repeated bit for bit on the same device: sums in a fixed order, dropout from a counter-based generator.
import { createHash } from 'node:crypto';
import { afterAll, expect, test } from 'vitest';
import type { AdamW, Engine, Patch } from '../../src/engine/types.ts';
import { testEngine } from '../support/engine.ts';
import { fixtureTensors } from '../support/fixtures.ts';
import { fixtureBatch, loraParts } from '../support/training.ts';

const STEPS = 20;
const OPTIONS: AdamW = { lr: 5e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, clipNorm: 1 };
const init = () => loraParts('train/llama/lora_scheduled/init.safetensors', (_, rank) => 8 / rank);
const batches = fixtureTensors('train/llama/batches.safetensors');
let made: Promise<Engine> | undefined;
const theEngine = (): Promise<Engine> => {
  made ??= testEngine('models/llama');
  return made;
};
afterAll(async () => (await made)?.dispose());

/** Steps [from, to) of a run of two micro-batches a step; the loss of each. */
async function train(engine: Engine, patch: Patch, from: number, to: number): Promise<number[]> {
  const losses: number[] = [];
  for (let step = from; step < to; step++) {
    const parts = [fixtureBatch(batches, `.${step % 4}`), fixtureBatch(batches, `.${(step + 1) % 4}`)];
    for (const { batch } of parts) engine.accumulate(batch, patch, parts[0].count + parts[1].count);
    losses.push((await engine.update(patch, OPTIONS)).loss);
  }
  return losses;
}
/** SHA-256 over the bits of all tensors and moments. */
async function hash(engine: Engine, patch: Patch): Promise<string> {
  const sum = createHash('sha256');
  const { step, counter, buffers } = await engine.saveState(patch);
  sum.update(`${step} ${counter}`);
  for (const { w, m, v } of buffers) for (const bytes of [w, m, v]) sum.update(bytes);
  return sum.digest('hex');
}
async function whole(seed: number): Promise<{ losses: number[]; bits: string }> {
  const engine = await theEngine();
  const patch = engine.createPatch(init(), { trainable: true, dropout: 0.1, seed });
  const losses = await train(engine, patch, 0, STEPS);
  const bits = await hash(engine, patch);
  engine.disposePatch(patch);
  return { losses, bits };
}

test('two runs of 20 steps with dropout have equal bits, and another seed has others', async () => {
  const [first, second, other] = [await whole(11), await whole(11), await whole(12)];
  expect(first.losses[STEPS - 1]).toBeLessThan(first.losses[0]);
  expect(second).toEqual(first);
  expect(other.bits).not.toBe(first.bits);
});

test('a run that goes on from a saved state in a new patch ends with the same bits', async () => {
  const engine = await theEngine();
  const patch = engine.createPatch(init(), { trainable: true, dropout: 0.1, seed: 11 });
  await train(engine, patch, 0, 7);
  const state = await engine.saveState(patch);
  engine.disposePatch(patch);
  const again = engine.createPatch(init(), { trainable: true, dropout: 0.1, seed: 11 });
  engine.loadState(again, state);
  await train(engine, again, 7, STEPS);
  const bits = await hash(engine, again);
  engine.disposePatch(again);
  expect(bits).toBe((await whole(11)).bits);
});

test('after a step that ran away, loadState goes back, and the run ends with the same bits', async () => {
  const engine = await theEngine();
  const patch = engine.createPatch(init(), { trainable: true, dropout: 0.1, seed: 11 });
  await train(engine, patch, 0, 5);
  const good = await engine.saveState(patch);
  const { batch, count } = fixtureBatch(batches, '.1');
  engine.accumulate(batch, patch, count);
  await engine.update(patch, { ...OPTIONS, lr: Number.NaN });
  engine.accumulate(batch, patch, count);
  expect((await engine.update(patch, OPTIONS)).loss).toBeNaN();
  engine.accumulate(batch, patch, count); // queued and never asked for: dropped
  engine.loadState(patch, good);
  await train(engine, patch, 5, STEPS);
  const bits = await hash(engine, patch);
  engine.disposePatch(patch);
  expect(bits).toBe((await whole(11)).bits);
});
