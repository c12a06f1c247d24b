// Rows 8 and 9: what training on rows of one's own does to the model.

import type { Example } from '../../data/types.ts';
import type { HostPart } from '../../engine/types.ts';
import { createFitEnv } from '../../experiments/fit-env.ts';
import { evaluate } from '../../experiments/runner.ts';
import { toF32 } from '../../formats/quant.ts';
import { fitPatch, type PatchStart, type TrainingConfig } from '../../methods/fit-patch.ts';
import { buildLora } from '../../methods/lora.ts';
import { emptyPrompt } from '../../methods/types.ts';
import { exactMatch } from '../../metrics/exact-match.ts';
import { messagesOf } from '../../world/document.ts';
import { SAMPLE_TASKS, type SampleTask, sampleRows } from '../../world/samples.ts';
import type { WorldDocument } from '../../world/types.ts';
import type { Bench, Count } from './bench.ts';
import { percent, type Row, reported, share } from './row.ts';

const TRAINING: TrainingConfig = {
  ...{
    learningRate: 5e-3,
    schedule: 'linear',
    warmup: 0.1,
    epochs: 4,
    batch: 8,
    microBatch: 8,
    weightDecay: 0,
    clipNorm: 1,
    validations: 1,
    patience: 0,
  },
};
const TRAIN_ROWS = 200;
const TEST_ROWS = 150;
const NEW_FACTS = 48;

const taskById = (id: string): SampleTask => {
  const task = SAMPLE_TASKS.find((one) => one.id === id);
  if (task === undefined) throw new Error(`There is no sample task ${id}.`);
  return task;
};
const asExample = (document: WorldDocument, i: number): Example => ({
  id: String(i),
  messages: messagesOf(document),
  targets: [document.gold],
});

async function score(bench: Bench, rows: readonly Example[], patch?: Parameters<Bench['replies']>[1]): Promise<Count> {
  const { results } = await evaluate({
    engine: bench.engine,
    renderer: bench.renderer,
    metric: exactMatch,
    rows,
    prompt: emptyPrompt,
    patch,
    longestAnswer: 48,
  });
  return { right: results.filter(({ score: one }) => one === 1).length, n: results.length };
}

/** Trains on rows and scores others, before and after. */
async function tune(
  bench: Bench,
  train: readonly Example[],
  test: readonly Example[],
  start: PatchStart,
  config: TrainingConfig,
): Promise<{ before: Count; after: Count; steps: number }> {
  const before = await score(bench, test);
  let steps = 0;
  const nothing = (): void => undefined;
  const env = createFitEnv({
    ...{
      engine: bench.engine,
      renderer: bench.renderer,
      metric: exactMatch,
      train,
      validation: [],
      seed: bench.seed,
      prompt: emptyPrompt,
      pinned: [],
    },
    ...{ longestAnswer: 48, signal: new AbortController().signal },
    events: {
      progress: (step) => {
        steps = step;
      },
      report: nothing,
      sample: nothing,
      best: nothing,
      note: nothing,
      checkpoint: async () => undefined,
    },
  });
  const patch = await fitPatch(env, start, config);
  const after = await score(bench, test, patch);
  bench.engine.disposePatch(patch);
  return { before, after, steps };
}

export async function lowRank(bench: Bench): Promise<Row[]> {
  const targets = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
  const parts = buildLora({ rank: 8, alpha: 16, rsLora: false, targets }, bench.engine.config, bench.seed);
  const rows: Row[] = [];
  for (const [id, asked] of [
    ['vale-two-teams', true],
    ['vale-bracketed-answers', false],
  ] as const) {
    const all = sampleRows(taskById(id), bench.seed, TRAIN_ROWS + TEST_ROWS).map(asExample);
    const { before, after, steps } = await tune(bench, all.slice(0, TRAIN_ROWS), all.slice(TRAIN_ROWS), { parts }, TRAINING);
    if (!asked) rows.push(reported('8', `LoRA rank 8, ${steps} steps, ${id}`, after));
    else {
      rows.push(share('8', `before LoRA, ${id}`, before, 0.05, 'at most'));
      rows.push(share('8', `LoRA rank 8, ${steps} steps, ${id}`, after, 0.75, 'at least', 'unseen rows'));
    }
  }
  return rows;
}

/** Every tensor of the model, trained. */
async function allWeights(bench: Bench): Promise<HostPart[]> {
  const parts: HostPart[] = [];
  for await (const { name, shape, dtype, bytes } of bench.source.tensors()) {
    const data = toF32(
      bytes,
      dtype,
      shape.reduce((a, b) => a * b, 1),
    );
    parts.push({ kind: 'weights', name, values: { name, shape, data } });
  }
  return parts;
}

/** New facts, asked closed-book in the words they were learned in; LoRA after the same steps beside it. */
export async function fullFineTuning(bench: Bench): Promise<Row[]> {
  const rows = sampleRows(taskById('vale-new-people'), bench.seed, NEW_FACTS).map(asExample);
  const config: TrainingConfig = { ...TRAINING, learningRate: 1e-3, epochs: 33 };
  const full = await tune(bench, rows, rows, { parts: await allWeights(bench) }, config);
  const targets = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
  const small = await tune(
    bench,
    rows,
    rows,
    { parts: buildLora({ rank: 8, alpha: 16, rsLora: false, targets }, bench.engine.config, bench.seed) },
    { ...config, learningRate: 5e-3 },
  );
  return [
    share('9', `${NEW_FACTS} new facts before`, full.before, 0.15, 'at most'),
    share(
      '9',
      `full fine-tuning, ${full.steps} steps`,
      full.after,
      0.9,
      'at least',
      `LoRA rank 8 after as many: ${percent(small.after.right / small.after.n)}`,
    ),
  ];
}
