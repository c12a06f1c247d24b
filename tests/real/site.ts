// What the main job in the browser left behind, against PEFT: the run's losses, and its exported folder.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { unzipSync } from 'fflate';
import * as v from 'valibot';
import { type Case, exact, worstDifference } from '../../src/cli/conformance/case.ts';
import { diskSource, readBytes, readJson } from '../../src/cli/conformance/folder.ts';
import { datasetOf } from '../../src/data/split.ts';
import { openGguf } from '../../src/formats/gguf-source.ts';
import { writeSafetensors } from '../../src/formats/safetensors.ts';
import { makeBatches, rateShare, trainingOrder } from '../../src/methods/batches.ts';
import { composeMessages } from '../../src/methods/compose.ts';
import { encodeRows } from '../../src/methods/encode-rows.ts';
import { buildLora, lora } from '../../src/methods/lora.ts';
import { restore } from '../../src/storage/restore.ts';
import { compareFolder } from './adapters.ts';
import { check, found, rendererOf, type World } from './world.ts';

const LOSS = 1e-3;
const LOGITS = 2e-3;
const STEPS = 10;
const LENGTH = 64;
/** As fit-patch.ts hands them to the engine. */
const ADAMW = { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

const Records = v.object({
  runs: v.array(v.unknown()),
  tasks: v.array(v.unknown()),
  datasets: v.array(v.unknown()),
  results: v.array(v.unknown()),
});
const Losses = v.object({ losses: v.array(v.number()), gradNorms: v.array(v.number()) });

/** The run as the app recorded it, with the rows and the task it was made on. */
function readRun(world: World) {
  const records = readJson(path.join(found(world, 'site'), 'site.json'), Records);
  const run = restore('runs', records.runs[0]);
  const task = restore('tasks', records.tasks[0]);
  const dataset = restore('datasets', records.datasets[0]);
  if (run === undefined || task === undefined || dataset === undefined) throw new Error('The records of the site cannot be read.');
  return { run, task, dataset };
}

/** The job for PEFT: the same first factors, batches and rates, made again from the run's seed and rows. */
async function rebuild(world: World) {
  const { run, task, dataset } = readRun(world);
  const source = await openGguf(diskSource(found(world, 'gguf')));
  const { config: model } = source;
  const renderer = rendererOf(source);
  const config = lora.read(run.config, model);
  const { id, version } = run.dataset;
  const { train } = datasetOf({ id, version, seed: task.seed, task: task.type, rows: dataset.rows, shares: task.shares });
  const encoded = await encodeRows(
    {
      prompt: run.prompt,
      encode: (example, prompt) => renderer.withAnswer(composeMessages(prompt, example.messages), example.targets[0] ?? ''),
      note: (_code, text) => console.error(text),
    },
    train,
    model.context,
    'training',
  );
  const order = trainingOrder(encoded.length, config.epochs, config.batch, run.seed);
  const batches = order.map((step) => {
    // One batch a step for PEFT: all lines of its micro-batches.
    const lines = makeBatches(encoded, step, config.microBatch, model.context).flatMap(({ tokens, targets, shape: [B, T] }) =>
      Array.from({ length: B }, (_, b) => ({
        tokens: [...tokens.subarray(b * T, (b + 1) * T)],
        targets: [...targets.subarray(b * T, (b + 1) * T)],
      })),
    );
    return { tokens: lines.map((line) => line.tokens), targets: lines.map((line) => line.targets) };
  });
  const init = world.place('init.safetensors');
  const factors = buildLora(config, model, run.seed).flatMap((part) => (part.kind === 'low-rank' ? [part.A, part.B] : []));
  const tensors = factors.map(({ name, shape, data }) => ({
    name,
    dtype: 'F32' as const,
    shape,
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  }));
  writeFileSync(init, writeSafetensors(tensors, { format: 'pt' }));
  return {
    run,
    lengths: batches.flatMap(({ tokens }) => tokens.map((line) => line.length)),
    job: {
      command: 'train',
      base: found(world, 'gguf'),
      config: { r: config.rank, lora_alpha: config.alpha, target_modules: config.targets, use_rslora: config.rsLora },
      init,
      batches,
      lrs: order.map((_, step) => config.learningRate * rateShare(config.schedule, config.warmup, step, order.length)),
      adamw: { ...ADAMW, weightDecay: config.weightDecay, clipNorm: config.clipNorm },
    },
  };
}

export function siteCases(world: World): Case[] {
  return [
    check(world, 'site/Base and a prompt are scored on SmolLM2', ['site'], async () => {
      const { results } = readJson(path.join(found(world, 'site'), 'site.json'), Records);
      const complete = results.map((record) => restore('results', record)).filter((result) => result?.complete === true);
      return {
        measurements: [exact(`results missing of 3, each of ${complete[0]?.rows.length ?? 0} rows`, Math.max(0, 3 - complete.length))],
      };
    }),
    check(world, 'site/losses of 10 LoRA steps', ['site', 'gguf', 'python'], async () => {
      const { run, job, lengths } = await rebuild(world);
      const ours = (run.curves.loss ?? []).map(({ value }) => value);
      const { losses } = await world.truth(job, Losses);
      const shown = (values: readonly number[]): string => `${values[0]?.toFixed(4)} to ${values.at(-1)?.toFixed(4)}`;
      return {
        measurements: [
          { what: `losses, ${shown(ours)}; PEFT ${shown(losses)}`, difference: worstDifference(ours, losses), tolerance: LOSS },
          exact(`steps other than ${STEPS}`, Math.abs(ours.length - STEPS)),
          exact(`lines that are not ${LENGTH} tokens long`, lengths.filter((length) => length !== LENGTH).length),
        ],
      };
    }),
    check(world, 'site/exported folder in PEFT', ['site', 'gguf', 'python'], async () => {
      const folder = world.place('from-site');
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      const files = unzipSync(readBytes(path.join(found(world, 'site'), 'site.zip')));
      for (const [name, bytes] of Object.entries(files)) writeFileSync(path.join(folder, path.basename(name)), bytes);
      return compareFolder(world, { path: () => found(world, 'gguf'), tolerance: LOGITS }, folder);
    }),
  ];
}
