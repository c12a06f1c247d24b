// Nothing leaks over load, train, unload. GPU bytes are counted by wrapping the device, not by the engine's own books. `npm run soak` makes 20 cycles.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { countGpu } from '../../src/cli/bench/count-gpu.ts';
import { createEngine } from '../../src/engine/engine.ts';
import { openGpu } from '../../src/engine/gpu.ts';
import { greedy } from '../../src/engine/types.ts';
import { rawTensors, stream } from '../support/engine.ts';
import { fixtureConfig, fixtureTensors } from '../support/fixtures.ts';
import { dawn } from '../support/gpu.ts';
import { fixtureBatch, loraParts } from '../support/training.ts';

const CYCLES = Number(process.env.MAQUETTE_CYCLES ?? 5);
/** The JS heap after a collection may differ from what it was after the first cycle by this share. */
const HEAP = 0.02;

// What the machine learns of code that runs often grows for a dozen cycles and then stops. Here it is all made at the first call, so that only what the
// program itself holds on to is left to see.
for (const flag of ['--expose-gc', '--no-lazy-feedback-allocation', '--no-opt', '--no-maglev', '--no-sparkplug', '--no-flush-bytecode'])
  setFlagsFromString(flag);
const collect: () => void = runInNewContext('gc');
/** Bytes of the JS heap once everything unreachable is gone; finalizers of GPU objects run between the collections. */
async function heapBytes(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return process.memoryUsage().heapUsed;
}

test(`${CYCLES} cycles of load, train 3 steps, answer, unload leave no GPU bytes and no heap behind`, {
  timeout: 60_000 + 20_000 * CYCLES,
}, async () => {
  const gpu = await openGpu(dawn());
  const counts = countGpu(gpu.device);
  const config = fixtureConfig('models/llama');
  const raw = rawTensors('models/llama/model.safetensors');
  const tensorInfos = raw.map((tensor) => ({ ...tensor, bytes: tensor.bytes.length }));
  const parts = loraParts('train/llama/lora/init.safetensors', (_, rank) => 8 / rank);
  const tensors = fixtureTensors('train/llama/batches.safetensors');
  const named = tensors.has('input_ids') ? '' : '.0';
  const { batch, count } = fixtureBatch(tensors, named);

  const cycle = async (): Promise<{ readonly held: number; readonly loss: number }> => {
    const engine = await createEngine(gpu, { config, tensorInfos, tensors: () => stream(raw) }, { storage: 'f32' });
    const patch = engine.createPatch(parts, { trainable: true });
    let loss = Number.NaN;
    for (let step = 0; step < 3; step++) {
      engine.accumulate(batch, patch, count);
      ({ loss } = await engine.update(patch, { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, clipNorm: 1 }));
    }
    for await (const _ of engine.generate(Uint32Array.of(1, 2, 3), greedy(8, []), patch)) {
      // until its end
    }
    const held = counts.live;
    engine.disposePatch(patch);
    engine.dispose();
    return { held, loss };
  };

  const first = await cycle();
  const bytes = counts.live;
  const heap = await heapBytes();
  for (let i = 1; i < CYCLES; i++) expect((await cycle()).loss).toBe(first.loss);
  const heapAfter = await heapBytes();
  console.log(
    `${CYCLES} cycles: ${first.held} GPU bytes held in one, ${bytes} after the first, ${counts.live} after the last; ` +
      `heap ${(heap / 1e6).toFixed(1)} MB, then ${(heapAfter / 1e6).toFixed(1)} MB`,
  );
  expect(first.held).toBeGreaterThan(100_000);
  expect(counts.live).toBe(bytes);
  expect(gpu.memory).toEqual({ weights: 0, activations: 0, training: 0 });
  expect(heapAfter).toBeLessThanOrEqual(heap * (1 + HEAP));
  gpu.device.destroy();
});
