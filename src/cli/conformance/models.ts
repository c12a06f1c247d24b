import path from 'node:path';
import * as v from 'valibot';
import type { StoragePlan } from '../../engine/types.ts';
import { type Bench, continueGreedily, continueTogether, type OpenModel } from './bench.ts';
import {
  type Case,
  differentIds,
  exact,
  LOGITS_BASE,
  LOSS_BASE,
  type Measurement,
  type Outcome,
  tolerance,
  worstDifference,
} from './case.ts';
import { filesOf, ids, type Numbers, readJson, readTensors, rowsOf, subfolders } from './folder.ts';

const Ids = v.array(v.number());
const Expected = v.object({
  float32_max_abs_error: v.optional(v.number()),
  prompts: v.optional(
    v.array(
      v.object({
        prompt: v.string(),
        input_ids: Ids,
        greedy: Ids,
        text: v.optional(v.string()),
        first_margin_below_0_01: v.optional(v.nullable(v.number())),
      }),
    ),
  ),
  tokenizer_cases: v.optional(v.array(v.object({ text: v.string(), ids: Ids }))),
  perplexity_case: v.optional(v.object({ text: v.string(), ids: Ids, mean_nll: v.number() })),
});
type Expected = v.InferOutput<typeof Expected>;

/** models/NAME, and folders beside it that hold a whole model, such as stories260k. */
export function modelCases(bench: Bench): Case[] {
  const inside = subfolders(path.join(bench.root, 'models')).map((name) => `models/${name}`);
  const beside = subfolders(bench.root).filter((name) => name !== 'models');
  return [...inside, ...beside]
    .filter((folder) => filesOf(path.join(bench.root, folder)).includes('config.json'))
    .map((folder) => ({ path: folder, run: () => runModel(bench, folder) }));
}

async function runModel(bench: Bench, folder: string): Promise<Outcome> {
  const full = path.join(bench.root, folder);
  const names = filesOf(full);
  const expected: Expected = names.includes('expected.json') ? readJson(path.join(full, 'expected.json'), Expected) : {};
  const tensors = readTensors(path.join(full, 'expected.safetensors'));
  const measurements: Measurement[] = [];
  const first = await bench.open(folder, 'f32');
  measurements.push(...(await measureModel(first, expected, tensors, 'f32')));
  // Weights stored in half precision lose nothing when they are held so.
  if (first.source.tensorInfos.some(({ dtype }) => dtype !== 'f32')) {
    measurements.push(...(await measureModel(await bench.open(folder, 'as-is'), expected, tensors, 'as-is')));
  }
  for (const name of names.filter((file) => file.endsWith('.gguf'))) {
    measurements.push(
      ...(await measureModel(await bench.open(`${folder}/${name}`, 'f32'), expected, tensors, 'f32')).map((m) => ({
        ...m,
        what: `${name} ${m.what}`,
      })),
    );
  }
  return { measurements };
}

async function measureModel(
  model: OpenModel,
  expected: Expected,
  tensors: ReadonlyMap<string, Numbers>,
  storage: StoragePlan,
): Promise<Measurement[]> {
  const { engine } = model;
  const measurements = await measureLogits(model, tensors, expected.float32_max_abs_error);
  const continuations = [...tensors.keys()]
    .filter((name) => name.startsWith('greedy'))
    .map((name) => ({
      prompt: ids(need(tensors, name.replace('greedy', 'input_ids'))),
      want: [...ids(need(tensors, name))],
    }));
  for (const { input_ids, greedy, first_margin_below_0_01 } of expected.prompts ?? []) {
    // Beyond a place where the two largest logits are this close, another order of summation may choose the other.
    continuations.push({ prompt: Uint32Array.from(input_ids), want: greedy.slice(0, first_margin_below_0_01 ?? greedy.length) });
  }
  for (const [i, { prompt, want }] of continuations.entries()) {
    measurements.push(exact(`greedy ids ${i}`, differentIds(await continueGreedily(engine, prompt, want.length, []), want)));
  }
  if (continuations.length > 0) {
    const longest = Math.max(...continuations.map(({ want }) => want.length));
    const together = await continueTogether(
      engine,
      continuations.map(({ prompt }) => prompt),
      longest,
      [],
    );
    const wrong = continuations.reduce((sum, { want }, i) => sum + differentIds(together[i].slice(0, want.length), want), 0);
    measurements.push(exact('greedy ids side by side', wrong));
  }
  measurements.push(...(await measureText(model, expected)));
  return measurements.map((m) => ({ ...m, what: storage === 'as-is' ? `${m.what} held as it is` : m.what }));
}

/** Every `logits` of the file against those of its `input_ids`. */
export async function measureLogits({ engine }: OpenModel, tensors: ReadonlyMap<string, Numbers>, drift?: number): Promise<Measurement[]> {
  const measurements: Measurement[] = [];
  for (const [what, want] of tensors) {
    if (!/^logits(\.\d+)?$/.test(what)) continue;
    const inputs = need(tensors, what.replace('logits', 'input_ids'));
    const got = await engine.logits(ids(inputs), rowsOf(inputs));
    measurements.push({ what, difference: worstDifference(got, want.data), tolerance: tolerance(LOGITS_BASE, drift) });
  }
  return measurements;
}

async function measureText({ engine, tokenizer }: OpenModel, expected: Expected): Promise<Measurement[]> {
  const measurements: Measurement[] = [];
  for (const { text, ids: want } of expected.tokenizer_cases ?? []) {
    measurements.push(exact(`tokenizer: ${JSON.stringify(text)}`, differentIds(tokenizer().encode(text, { addSpecial: true }), want)));
  }
  for (const { prompt, input_ids, greedy, text } of expected.prompts ?? []) {
    measurements.push(
      exact(`prompt ids: ${JSON.stringify(prompt)}`, differentIds(tokenizer().encode(prompt, { addSpecial: true }), input_ids)),
    );
    if (text !== undefined)
      measurements.push(exact(`text after ${JSON.stringify(prompt)}`, tokenizer().decode([...input_ids, ...greedy]) === text ? 0 : 1));
  }
  const nll = expected.perplexity_case;
  if (nll !== undefined) {
    const tokens = Uint32Array.from(nll.ids);
    measurements.push(exact('ids of the scored text', differentIds(tokenizer().encode(nll.text, { addSpecial: true }), tokens)));
    const scores = await engine.score(tokens, [1, tokens.length]);
    const mean = -scores.reduce((a, b) => a + b, 0) / (tokens.length - 1);
    measurements.push({ what: 'mean negative log-probability', difference: Math.abs(mean - nll.mean_nll), tolerance: LOSS_BASE });
  }
  return measurements;
}

export function need<T>(map: ReadonlyMap<string, T>, name: string): T {
  const found = map.get(name);
  if (found === undefined) throw new Error(`The fixture has no tensor named ${name}.`);
  return found;
}
