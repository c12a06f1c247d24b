// LoRA trained and exported here, loaded by llama.cpp.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import * as v from 'valibot';
import { continueGreedily, type OpenModel } from '../../src/cli/conformance/bench.ts';
import { type Case, differentIds, exact, type Measurement } from '../../src/cli/conformance/case.ts';
import type { Patch } from '../../src/engine/types.ts';
import type { PortableAdapter } from '../../src/formats/types.ts';
import { ZED } from './texts.ts';
import { trainLora, trainShortly } from './train.ts';
import { check, fixture, formats, found, rendererOf, type World, withAdapter } from './world.ts';

const Greedy = v.object({ greedy: v.array(v.array(v.number())) });
const COUNT = 32;
const FEWEST = 8;
const STORY = 'Once upon a time';

function saveFile(world: World, name: string, adapter: PortableAdapter, model: OpenModel): string {
  const [bytes] = formats['gguf-lora'].write(adapter, model.engine.config).values();
  if (bytes === undefined) throw new Error('The GGUF adapter came out empty.');
  const file = world.place(name);
  writeFileSync(file, bytes);
  return file;
}

async function promptsOf(model: OpenModel): Promise<Uint32Array[]> {
  const renderer = rendererOf(model.source);
  const prompts: Uint32Array[] = [];
  for (const { messages } of ZED) prompts.push(await renderer.prompt(messages));
  prompts.push(await renderer.prompt([{ role: 'user', content: STORY }]));
  return prompts;
}
const jobOf = (prompts: readonly Uint32Array[], count: number) => prompts.map((ids) => ({ ids: [...ids], count }));

/** Where the two largest logits are nearer than this, another order of summation may choose the other. This model has ids that were never trained and so
 *  have the same logit nearly to the last bit; its stop token is one of them. */
const MARGIN = 0.01;

/** Ids of a continuation before the first place where our own two largest logits are too near each other. */
async function certain({ engine }: OpenModel, prompt: Uint32Array, ours: readonly number[], patch: Patch): Promise<number> {
  const { V } = engine.config;
  const row = Uint32Array.from([...prompt, ...ours]);
  const logits = await engine.logits(row, [1, row.length], patch);
  for (let i = 0; i < ours.length; i++) {
    const at = (prompt.length - 1 + i) * V;
    const [first, second] = logits
      .slice(at, at + V)
      .sort()
      .subarray(-2)
      .reverse();
    if (first - second < MARGIN) return i;
  }
  return ours.length;
}

/** How many of the first ids differ, with the first place where they do. */
function same(what: string, count: number, ours: readonly number[], theirs: readonly number[]): Measurement {
  const at = Array.from({ length: count }, (_, i) => i).findIndex((i) => ours[i] !== theirs[i]);
  const where = at < 0 ? '' : `: at ${at} ours ${ours.slice(at, at + 3).join(' ')}, theirs ${theirs.slice(at, at + 3).join(' ')}`;
  return exact(`${count} of ${COUNT} ${what}${where}`, differentIds(ours.slice(0, count), theirs.slice(0, count)));
}

export function storiesCases(world: World): Case[] {
  const folder = fixture('stories260k');
  const missing = 'stories260k is not beside the project (../shared/fixtures).';
  return [
    check(world, 'llama.cpp/stories260k: greedy ids with an adapter of ours', ['llama'], async () => {
      if (folder === undefined) return { skipped: missing };
      const file = path.join(folder, 'model-f32.gguf');
      const model = await world.bench.open(file, 'f32');
      const prompts = await promptsOf(model);
      const settings = { rank: 8, alpha: 16, learningRate: 1e-2, epochs: 60, batch: 4, microBatch: 4, schedule: 'constant', warmup: 0 };
      const { adapter, losses } = await trainLora(model, ZED, settings);
      const lora = { file: saveFile(world, 'zed.gguf', adapter, model) };
      const theirs = await world.llamaCpp({ model: file, lora, greedy: jobOf(prompts, COUNT) }, Greedy);
      const base = await world.llamaCpp({ model: file, greedy: jobOf(prompts, COUNT) }, Greedy);
      const ours = await withAdapter(model, adapter, async (patch) => {
        const rows: { ids: number[]; certain: number }[] = [];
        for (const prompt of prompts) {
          const ids = await continueGreedily(model.engine, prompt, COUNT, [], patch);
          rows.push({ ids, certain: await certain(model, prompt, ids, patch) });
        }
        return rows;
      });
      const learned = (losses.at(-1) ?? Infinity) < (losses[0] ?? 0) / 2;
      return {
        measurements: [
          ...theirs.greedy.map((ids, i) => same(`greedy ids after prompt ${i}`, ours[i].certain, ours[i].ids, ids)),
          exact('prompts with fewer than 8 ids to compare', ours.filter((row) => row.certain < FEWEST).length),
          exact('adapters without effect', theirs.greedy.every((ids, i) => differentIds(ids, base.greedy[i]) === 0) ? 1 : 0),
          exact('losses that did not halve', learned ? 0 : 1),
        ],
      };
    }),
  ];
}

export function smolLlamaCases(world: World): Case[] {
  return [
    check(world, 'llama.cpp/SmolLM2: an adapter of ours loads and changes the answer', ['llama', 'gguf'], async () => {
      const file = found(world, 'gguf');
      const model = await world.bench.open(file, 'f32');
      const { adapter, losses } = await trainShortly(model);
      const prompts = [await rendererOf(model.source).prompt(ZED[0].messages)];
      const lora = { file: saveFile(world, 'zed-smollm2.gguf', adapter, model) };
      const base = await world.llamaCpp({ model: file, greedy: jobOf(prompts, 16) }, Greedy);
      const changed = await world.llamaCpp({ model: file, lora, greedy: jobOf(prompts, 16) }, Greedy);
      const tokenizer = model.tokenizer();
      const say = (ids: readonly number[]): string => JSON.stringify(tokenizer.decode(ids));
      const what = `answers left as they were: ${say(base.greedy[0])} became ${say(changed.greedy[0])}`;
      return {
        measurements: [
          exact(what, differentIds(base.greedy[0], changed.greedy[0]) > 0 ? 0 : 1),
          exact('losses that did not fall', (losses.at(-1) ?? Infinity) < (losses[0] ?? 0) ? 0 : 1),
        ],
      };
    }),
  ];
}
