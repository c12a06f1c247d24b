// The training half against the independent oracle: losses, norms, gradients, final tensors and logits, by the tolerances of fixtures/README.md.
import { describe, expect, test } from 'vitest';
import type { Engine, HostPart, PatchOptions } from '../../src/engine/types.ts';
import { testEngine } from '../support/engine.ts';
import { fixtureTensors, haveFixtures, worstDifference } from '../support/fixtures.ts';
import { fixtureBatch, loraParts, statedRun, totalNorm, wholeModel } from '../support/training.ts';

/** Trains as the run says and holds every number it states against ours. */
async function replay(
  engine: Engine,
  folder: string,
  batches: string,
  parts: readonly HostPart[],
  final: string,
  options: Partial<PatchOptions> = {},
) {
  const run = statedRun(folder);
  const { betas, eps, weight_decay: weightDecay, max_grad_norm, steps } = run.hyperparameters;
  const { max_loss, max_grad_step1, max_param_final, max_final_logits } = run.float32_drift;
  const patch = engine.createPatch(parts, { trainable: true, ...options });
  const tensors = fixtureTensors(batches);
  const count = [...tensors.keys()].filter((name) => name.startsWith('input_ids')).length;
  const batchOf = (step: number) => fixtureBatch(tensors, count === 1 && tensors.has('input_ids') ? '' : `.${step % count}`);
  const worst = { loss: 0, norm: 0, gradient: 0, final: 0, logits: 0 };
  for (let step = 0; step < steps; step++) {
    const { batch, count: targets } = batchOf(step);
    engine.accumulate(batch, patch, targets);
    if (step === 0) {
      const gradients = await engine.gradients(patch);
      const stated = fixtureTensors(`${folder}/grads_step1.safetensors`);
      for (const [name, { data }] of stated) worst.gradient = Math.max(worst.gradient, worstDifference(gradients.get(name)!, data));
      const norm = totalNorm([...stated.values()].map(({ data }) => data));
      expect(worst.gradient, 'step-1 gradients').toBeLessThanOrEqual(Math.max(1e-4 * norm, 20 * max_grad_step1));
    }
    const report = await engine.update(patch, {
      lr: run.lrs[step],
      beta1: betas[0],
      beta2: betas[1],
      eps,
      weightDecay,
      clipNorm: max_grad_norm ?? 0,
    });
    worst.loss = Math.max(worst.loss, Math.abs(report.loss - run.losses[step]));
    worst.norm = Math.max(worst.norm, Math.abs(report.gradNorm - run.grad_norms[step]));
  }
  const trained = await engine.readPatch(patch);
  for (const [name, { data }] of fixtureTensors(final)) worst.final = Math.max(worst.final, worstDifference(trained.get(name)!.data, data));
  const { batch } = batchOf(0);
  const logits = await engine.logits(batch.tokens, batch.shape, patch);
  worst.logits = worstDifference(logits, fixtureTensors(`${folder}/final_logits.safetensors`).get('logits')!.data);
  console.log(
    `${folder}: worst differences ${Object.entries(worst)
      .map(([name, x]) => `${name} ${x.toExponential(1)}`)
      .join(', ')}`,
  );
  expect(worst.loss, 'losses').toBeLessThanOrEqual(Math.max(1e-5 * Math.max(...run.losses), 20 * max_loss));
  expect(worst.norm, 'norms').toBeLessThanOrEqual(1e-4 * Math.max(...run.grad_norms));
  expect(worst.final, 'final tensors').toBeLessThanOrEqual(Math.max(1e-4, 20 * max_param_final));
  expect(worst.logits, 'final logits').toBeLessThanOrEqual(Math.max(2e-4, 20 * max_final_logits));
  engine.disposePatch(patch);
}

const BATCHES = 'train/llama/batches.safetensors';

describe.each(['lora', 'lora_scheduled'])('train/llama/%s', (run) => {
  test('20 steps are those of the oracle', async () => {
    const engine = await testEngine('models/llama', 'f32');
    const folder = `train/llama/${run}`;
    await replay(
      engine,
      folder,
      BATCHES,
      loraParts(`${folder}/init.safetensors`, (_, rank) => 8 / rank),
      `${folder}/adapter_model.safetensors`,
    );
    engine.dispose();
    expect(engine.memory).toEqual({ weights: 0, activations: 0, training: 0 });
  });
});

test('train/llama/full: 20 steps of every tensor are those of the oracle', async () => {
  const engine = await testEngine('models/llama', 'f32');
  const plain = new Set(statedRun('train/llama/full').no_weight_decay_on);
  await replay(engine, 'train/llama/full', BATCHES, wholeModel('models/llama/model.safetensors'), 'train/llama/full/model.safetensors', {
    noDecay: (name) => plain.has(name),
  });
  engine.dispose();
});

test.each([
  { run: 'rslora', scaleOf: (_: string, rank: number) => 8 / Math.sqrt(rank) },
  { run: 'lora_patterns', scaleOf: (module: string, rank: number) => (module === 'model.layers.1.self_attn.q_proj' ? 3 : 8) / rank },
])('train/llama/$run: logits, loss and gradients at a point are those of the oracle', async ({ run, scaleOf }) => {
  const engine = await testEngine('models/llama', 'f32');
  const patch = engine.createPatch(loraParts(`train/llama/${run}/adapter_model.safetensors`, scaleOf), { trainable: true });
  const expected = fixtureTensors(`train/llama/${run}/expected.safetensors`);
  const [B, T] = expected.get('input_ids')!.shape;
  const logits = await engine.logits(Uint32Array.from(expected.get('input_ids')!.data), [B, T], patch);
  expect(worstDifference(logits, expected.get('logits')!.data)).toBeLessThanOrEqual(2e-4);
  if (expected.has('labels')) {
    const { batch, count } = fixtureBatch(expected, '');
    engine.accumulate(batch, patch, count);
    const gradients = await engine.gradients(patch);
    const stated = [...gradients.keys()].map((name) => [name, expected.get(`grad:${name}`)!.data] as const);
    const norm = totalNorm(stated.map(([, data]) => data));
    for (const [name, data] of stated) expect(worstDifference(gradients.get(name)!, data), name).toBeLessThanOrEqual(1e-4 * norm);
  }
  engine.dispose();
});

test.skipIf(!haveFixtures('stories260k/lora_zed'))('stories260k/lora_zed: 60 steps on a real model are those of the oracle', async () => {
  const engine = await testEngine('stories260k', 'f32');
  const folder = 'stories260k/lora_zed';
  await replay(
    engine,
    folder,
    `${folder}/batches.safetensors`,
    loraParts(`${folder}/init.safetensors`, (_, rank) => 16 / rank),
    `${folder}/adapter_model.safetensors`,
  );
  engine.dispose();
});
