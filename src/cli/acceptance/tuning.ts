// Rows 8 and 9: what training on rows of one's own does to the model.

import type { Example } from '../../data/types.ts';
import type { HostPart, Patch } from '../../engine/types.ts';
import { LINEARS } from '../../engine/weights.ts';
import { createFitEnv } from '../../experiments/fit-env.ts';
import { evaluate } from '../../experiments/runner.ts';
import { peft } from '../../formats/peft.ts';
import { toF32 } from '../../formats/quant.ts';
import { fitPatch, type PatchStart, type TrainingConfig } from '../../methods/fit-patch.ts';
import { buildLora } from '../../methods/lora.ts';
import { type Customization, emptyPrompt, type FitEnv, type Prompt } from '../../methods/types.ts';
import { exactMatch } from '../../metrics/exact-match.ts';
import { messagesOf } from '../../world/document.ts';
import { SAMPLE_TASKS, type SampleTask, sampleRows } from '../../world/samples.ts';
import type { WorldDocument } from '../../world/types.ts';
import { adapterOf, partsOf } from './adapter-file.ts';
import type { Bench, Count } from './bench.ts';
import { fact, percent, type Row, share } from './row.ts';

const LONGEST_ANSWER = 48; // tokens
const TRAINING: TrainingConfig = {
  ...{
    learningRate: 5e-3,
    schedule: 'linear',
    warmup: 0.1,
    epochs: 2,
    batch: 8,
    microBatch: 8,
    recompute: false,
    weightDecay: 0,
    clipNorm: 1,
    validations: 1,
    patience: 0,
  },
};
const TRAIN_ROWS = 200;
/** A smoke run asks fewer. */
const TEST_ROWS = 150;
const NEW_FACTS = 48;
/** Of row 9: 16 times 48 rows in batches of 8 are 96 steps. */
const FACT_EPOCHS = 16;

const taskById = (id: string): SampleTask => {
  const task = SAMPLE_TASKS.find((one) => one.id === id);
  if (task === undefined) throw new Error(`There is no sample task ${id}.`);
  return task;
};
export const asExample = (document: WorldDocument, i: number): Example => ({
  id: String(i),
  messages: messagesOf(document),
  targets: [document.gold],
});

/** Greedy answers under a prompt and with a patch, and how many are right. */
export async function answerRows(
  bench: Bench,
  rows: readonly Example[],
  prompt: Prompt,
  patch?: Patch,
): Promise<{ right: Count; replies: readonly string[] }> {
  const { results } = await evaluate({
    ...{ engine: bench.engine, renderer: bench.renderer, metric: exactMatch },
    ...{ rows, prompt, patch, longestAnswer: LONGEST_ANSWER },
    onRow: ({ promptTokens, replyTokens }) => bench.onWork?.(promptTokens + replyTokens),
  });
  return {
    right: { right: results.filter(({ score }) => score === 1).length, n: results.length },
    replies: results.map(({ reply }) => reply),
  };
}

/** A training as the site runs it, and the seconds that it took. */
export async function train(
  bench: Bench,
  { train: rows, validation }: { readonly train: readonly Example[]; readonly validation: readonly Example[] },
  seed: number,
  learn: (env: FitEnv) => Promise<Customization>,
): Promise<{ patch: Patch; steps: number; seconds: number }> {
  let steps = 0;
  const nothing = (): void => undefined;
  const some = rows.slice(0, TRAINING.batch);
  const lengths = await Promise.all(some.map(async ({ messages }) => (await bench.renderer.prompt(messages)).length));
  const tokensOfStep = lengths.reduce((a, b) => a + b, 0);
  const started = performance.now();
  const env = createFitEnv({
    ...{
      engine: bench.engine,
      renderer: bench.renderer,
      metric: exactMatch,
      train: rows,
      validation,
      seed,
      prompt: emptyPrompt,
      pinned: [],
    },
    ...{ longestAnswer: LONGEST_ANSWER, signal: new AbortController().signal },
    events: {
      progress: (step) => {
        bench.onWork?.(3 * tokensOfStep * (step - steps));
        steps = step;
      },
      ...{ report: nothing, sample: nothing, best: nothing, note: nothing, checkpoint: async () => undefined },
    },
  });
  const { patch } = await learn(env);
  if (patch === undefined) throw new Error('Training gave no patch.');
  return { patch, steps, seconds: (performance.now() - started) / 1000 };
}

/** Trains on rows and scores others, before and after. The patch is the caller's. */
async function tune(
  bench: Bench,
  rows: readonly Example[],
  test: readonly Example[],
  start: PatchStart,
  config: TrainingConfig,
): Promise<{ before: Count; after: Count; steps: number; patch: Patch }> {
  const before = await answerRows(bench, test, emptyPrompt);
  const { patch, steps } = await train(bench, { train: rows, validation: [] }, bench.seed, async (env) => ({
    prompt: emptyPrompt,
    patch: await fitPatch(env, start, config),
  }));
  const after = await answerRows(bench, test, emptyPrompt, patch);
  return { before: before.right, after: after.right, steps, patch };
}

const LORA = { rank: 8, alpha: 16, rsLora: false, targets: LINEARS };
const loraOf = (bench: Bench): PatchStart => ({ parts: buildLora(LORA, bench.engine.config, bench.seed) });

export async function lowRank(bench: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  for (const id of ['vale-two-teams', 'vale-json-answers']) {
    const all = sampleRows(taskById(id), bench.seed, TRAIN_ROWS + Math.min(TEST_ROWS, bench.items)).map(asExample);
    const test = all.slice(TRAIN_ROWS);
    const { before, after, steps, patch } = await tune(bench, all.slice(0, TRAIN_ROWS), test, loraOf(bench), TRAINING);
    rows.push(share('8', `before LoRA, ${id}`, before, 0.05, 'at most'));
    rows.push(share('8', `LoRA rank ${LORA.rank}, ${steps} steps, ${id}`, after, 0.75, 'at least', 'unseen rows'));
    if (rows.length === 2) rows.push(await reloaded(bench, test, patch, after));
    bench.engine.disposePatch(patch);
  }
  return rows;
}

/** The adapter written as PEFT files, read back and asked again. */
async function reloaded(bench: Bench, test: readonly Example[], patch: Patch, before: Count): Promise<Row> {
  const { config } = bench.engine;
  const files = peft.write(adapterOf(await bench.engine.readPatch(patch), LORA), config);
  const again = bench.engine.createPatch(partsOf(peft.read(files, config)), { trainable: false });
  const { right } = await answerRows(bench, test, emptyPrompt, again);
  bench.engine.disposePatch(again);
  const bytes = [...files.values()].reduce((sum, file) => sum + file.length, 0);
  const note = `${before.right} and ${right.right} right; ${(bytes / 1e3).toFixed(0)} kB`;
  return fact('8', 'exported as PEFT and read again: the same score', right.right === before.right, 'equal', note, right.n);
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
  const config: TrainingConfig = { ...TRAINING, learningRate: 1e-3, epochs: FACT_EPOCHS };
  const full = await tune(bench, rows, rows, { parts: await allWeights(bench) }, config);
  bench.engine.disposePatch(full.patch);
  const small = await tune(bench, rows, rows, loraOf(bench), { ...config, learningRate: 5e-3 });
  bench.engine.disposePatch(small.patch);
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
