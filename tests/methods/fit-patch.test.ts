// The training loop over the reference engine: every property that does not need a GPU.
import { describe, expect, test } from 'vitest';
import type { Engine, Patch } from '../../src/engine/types.ts';
import { fitPatch, isBetter, type TrainingConfig, validationSteps } from '../../src/methods/fit-patch.ts';
import { buildLora, type LoraConfig } from '../../src/methods/lora.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import { referenceEngine } from '../support/reference-engine.ts';
import { row, tinyEnv, tinyRenderer, tinyRows } from '../support/tiny.ts';

const engine = referenceEngine('models/llama');
const training: TrainingConfig = {
  ...{ learningRate: 1e-2, schedule: 'constant', warmup: 0, epochs: 12, batch: 4, microBatch: 2, recompute: false },
  ...{ weightDecay: 0.01, clipNorm: 1, validations: 4, patience: 0 },
};
const shape: Pick<LoraConfig, 'rank' | 'alpha' | 'rsLora' | 'targets'> = {
  rank: 4,
  alpha: 8,
  rsLora: false,
  targets: ['q_proj', 'v_proj', 'down_proj'],
};
const parts = buildLora(shape, engine.config, 7);
const start = { parts, dropout: 0 };

async function bytes(on: Engine, patch: Patch): Promise<string> {
  const tensors = await on.readPatch(patch);
  return [...tensors].map(([name, { data }]) => `${name} ${Buffer.from(data.buffer).toString('base64')}`).join('\n');
}

describe('fitPatch', () => {
  test('learns its rows, reports every step, and begins at Base', async () => {
    const { env, heard } = tinyEnv(engine, { validation: tinyRows, pinned: [{ name: 'a', messages: tinyRows[0].messages }] });
    const patch = await fitPatch(env, start, training);
    const loss = heard.curves.get('loss') ?? [];
    expect(loss.map(({ step }) => step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(loss[11].value).toBeLessThan(loss[0].value / 2);
    expect(heard.curves.get('validation loss')?.map(({ step }) => step)).toEqual([0, 3, 6, 9, 12]);
    expect(heard.curves.get('score')?.map(({ step }) => step)).toEqual([3, 6, 9, 12]);
    expect(heard.samples.map(({ step }) => step)).toEqual([0, 3, 6, 9, 12]);
    expect(heard.samples[0].text).toBe(await env.generate(emptyPrompt, tinyRows[0].messages));
    expect(heard.bests.length).toBeGreaterThan(0);
    engine.disposePatch(patch);
  });

  test('the first loss is the mean over the step’s answer tokens, whatever the micro-batch', async () => {
    const first: number[] = [];
    for (const microBatch of [1, 3, 4]) {
      const { env, heard } = tinyEnv(engine);
      engine.disposePatch(await fitPatch(env, start, { ...training, epochs: 1, microBatch }));
      first.push(heard.curves.get('loss')?.[0].value ?? Number.NaN);
    }
    const renderer = tinyRenderer();
    let sum = 0;
    let count = 0;
    for (const example of tinyRows) {
      const { tokens, mask } = await renderer.withAnswer(example.messages, example.targets[0]);
      const logProbabilities = await engine.score(tokens, [1, tokens.length]);
      mask.forEach((trained, t) => {
        if (trained === 1) sum -= logProbabilities[t];
        count += trained;
      });
    }
    for (const loss of first) expect(loss).toBeCloseTo(sum / count, 4);
  });

  test('two runs of one seed are equal bit for bit, with dropout too, and another seed is another run', async () => {
    const run = async (seed: number): Promise<string> => {
      const { env } = tinyEnv(engine, { seed });
      const patch = await fitPatch(env, { parts, dropout: 0.2 }, { ...training, epochs: 4, batch: 2 });
      const out = await bytes(engine, patch);
      engine.disposePatch(patch);
      return out;
    };
    expect(await run(7)).toBe(await run(7));
    expect(await run(7)).not.toBe(await run(8));
  });

  test('a run that goes on from a checkpoint ends with the bits of one that never stopped', async () => {
    const config = { ...training, epochs: 6, batch: 3, validations: 6 };
    const whole = tinyEnv(engine, { validation: tinyRows });
    const patch = await fitPatch(whole.env, { parts, dropout: 0.1 }, config);
    const middle = whole.heard.checkpoints[Math.floor(whole.heard.checkpoints.length / 2)];
    expect(middle.optimizer.step).toBeGreaterThan(0);
    const rest = tinyEnv(engine, { validation: tinyRows, resumeFrom: middle });
    const resumed = await fitPatch(rest.env, { parts, dropout: 0.1 }, config);
    expect(await bytes(engine, resumed)).toBe(await bytes(engine, patch));
    const after = (whole.heard.curves.get('loss') ?? []).filter(({ step }) => step > middle.optimizer.step);
    expect(rest.heard.curves.get('loss')).toEqual(after);
    expect(middle.position + middle.epoch * 2).toBe(middle.optimizer.step);
    engine.disposePatch(patch);
    engine.disposePatch(resumed);
  });

  test('abort keeps the best so far', async () => {
    const controller = new AbortController();
    const { env, heard } = tinyEnv(engine, { validation: tinyRows, signal: controller.signal });
    const stopping = {
      ...env,
      progress: (step: number) => {
        if (step === 8) controller.abort();
      },
    };
    const patch = await fitPatch(stopping, start, training);
    expect(heard.curves.get('loss')).toHaveLength(8);
    const best = heard.checkpoints.at(-1)?.best;
    expect(best?.step).toBe(6);
    expect((await engine.saveState(patch)).buffers).toEqual(best?.optimizer.buffers);
    engine.disposePatch(patch);
  });

  test('without validation rows nothing is scored and the last state is kept', async () => {
    const { env, heard } = tinyEnv(engine);
    const patch = await fitPatch(env, start, training);
    expect(heard.curves.has('score')).toBe(false);
    expect(heard.bests).toEqual([]);
    expect((await engine.saveState(patch)).step).toBe(12);
    engine.disposePatch(patch);
  });

  test('a rate that ruins the weights is rolled back twice, then said as fit/diverged', async () => {
    const { env, heard } = tinyEnv(engine);
    await expect(fitPatch(env, start, { ...training, learningRate: 1e36 })).rejects.toMatchObject({ code: 'fit/diverged' });
    expect(heard.notes).toEqual(['fit/rolled-back', 'fit/rolled-back']);
  });

  test('a loss that stops being a number late goes back to the last good step at half the rate', async () => {
    const { env, heard } = tinyEnv(engine);
    let updates = 0;
    // A real engine whose weights break once, as a rare overflow would do it.
    const breaking: Engine = {
      ...engine,
      update: async (patch, options) => {
        const result = await engine.update(patch, updates === 13 ? { ...options, lr: Number.NaN } : options);
        updates++;
        return result;
      },
    };
    const patch = await fitPatch({ ...env, engine: breaking }, start, { ...training, epochs: 16 });
    expect(heard.notes).toEqual(['fit/rolled-back']);
    const steps = heard.curves.get('loss')?.map(({ step }) => step) ?? [];
    expect(steps.slice(0, 14)).toEqual(Array.from({ length: 14 }, (_, i) => i + 1));
    expect(steps.slice(14)).toEqual([11, 12, 13, 14, 15, 16]);
    expect(heard.curves.get('lr')?.at(-1)?.value).toBe(5e-3);
    expect(heard.curves.get('loss')?.every(({ value }) => Number.isFinite(value))).toBe(true);
    engine.disposePatch(patch);
  });

  test('rows that are too long or have no answer are left out and counted', async () => {
    const long = row('long', 'word '.repeat(120), 'x');
    const { env, heard } = tinyEnv(engine, { train: [...tinyRows, long, row('open', 'no answer')] });
    engine.disposePatch(await fitPatch(env, start, { ...training, epochs: 1 }));
    expect(heard.notes).toEqual(['fit/rows-without-answer', 'fit/rows-too-long']);
    expect(heard.curves.get('loss')).toHaveLength(1);
    await expect(fitPatch(tinyEnv(engine, { train: [long] }).env, start, training)).rejects.toMatchObject({ code: 'fit/no-rows' });
  });

  test('patience ends a run that no longer gets better', async () => {
    const { env, heard } = tinyEnv(engine, { validation: [row('v', 'violet', 'qq')] });
    engine.disposePatch(await fitPatch(env, start, { ...training, epochs: 40, validations: 40, patience: 2 }));
    const scored = heard.curves.get('score') ?? [];
    expect(scored.length).toBeLessThan(40);
    expect(scored.at(-1)?.step).toBe((heard.bests.at(-1) ?? 0) + 2);
    expect(heard.notes).toContain('fit/stopped-early');
  });
});

test('the best has the better score, and among equals the lower validation loss', () => {
  const best = { score: 0.5, loss: 1 };
  expect(isBetter({ score: 0.5, loss: 0.9 }, best, 'higher')).toBe(true);
  expect(isBetter({ score: 0.5, loss: 1 }, best, 'higher')).toBe(false);
  expect(isBetter({ score: 0.6, loss: 9 }, best, 'higher')).toBe(true);
  expect(isBetter({ score: 0.6, loss: 0.1 }, best, 'lower')).toBe(false);
  expect(isBetter({ score: 0, loss: 9 }, undefined, 'higher')).toBe(true);
});

test('validations are spread evenly and the last one is at the end', () => {
  expect([...validationSteps(12, 4)]).toEqual([3, 6, 9, 12]);
  expect([...validationSteps(10, 4)]).toEqual([3, 5, 8, 10]);
  expect([...validationSteps(2, 10)]).toEqual([1, 2]);
});
