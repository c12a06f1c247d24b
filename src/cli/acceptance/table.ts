// The whole table: which rows there are, and asking for them one after the other. `acceptance` prints it, `export-bundled` writes it into the card.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import * as v from 'valibot';
import { alien } from './alien.ts';
import type { Bench } from './bench.ts';
import { firstUse } from './first-use.ts';
import { type Progress, workMeter } from './progress.ts';
import { type Row, skipped } from './row.ts';
import {
  contextWins,
  type Float32Scores,
  fewShotLabels,
  fewShotRules,
  quality,
  quantization,
  type RowMaker,
  stepByStep,
  systemRules,
  weight,
} from './rows.ts';
import { fullFineTuning, lowRank } from './tuning.ts';

/** The seed whose float32 answers lie beside the model. */
export const DEFAULT_SEED = 2026;
export const DEFAULT_ITEMS = 300;

const Scores = v.object({
  seed: v.number(),
  items: v.number(),
  tokens: v.number(),
  scores: v.record(v.string(), v.number()),
  right: v.record(v.string(), v.pipe(v.string(), v.regex(/^[01]*$/))),
});
/** @throws where the text is not what the trainer's --scores prints */
export const parseScores = (text: string): v.InferOutput<typeof Scores> => v.parse(Scores, JSON.parse(text));

export const SCORES_FILE = 'float32-scores.json';
/** What the trainer wrote of its own weights, where it lies beside the model. */
export function readScores(folder: string): Float32Scores | undefined {
  const file = path.join(folder, SCORES_FILE);
  return existsSync(file) ? parseScores(readFileSync(file, 'utf8')) : undefined;
}

interface TableRow {
  readonly row: string;
  readonly make: RowMaker;
  /** Tokens through the network for so many questions, about: for the time that is left. */
  readonly work: (items: number) => number;
}
const fixed = (tokens: number) => (): number => tokens;
const each =
  (tokens: number) =>
  (items: number): number =>
    tokens * items;
const later = (row: string, what: string, why: string): TableRow => ({ row, make: async () => [skipped(row, what, why)], work: fixed(0) });

/** Rows by their number in the recipe's table, and what the site opens with. */
function table(scores: Float32Scores | undefined): readonly TableRow[] {
  return [
    { row: '1', make: fewShotLabels, work: each(260) },
    { row: '2', make: fewShotRules, work: each(155) },
    { row: '3', make: systemRules, work: each(260) },
    later('4', 'what a search for wordings finds', 'the search of prompts is not built'),
    { row: '5', make: stepByStep, work: each(170) },
    later('6', 'soft prompt', 'prompt tuning is not built'),
    later('7', 'bottleneck adapters', 'adapters are not built'),
    { row: '8', make: lowRank, work: fixed(120e3) },
    { row: '9', make: fullFineTuning, work: fixed(60e3) },
    later('10', 'forgetting', 'it compares with methods that are not built'),
    later('11', 'the order of methods', 'the advisor is not built'),
    { row: '12', make: quality, work: each(270) },
    { row: '13', make: contextWins, work: each(25) },
    { row: '14', make: quantization(scores), work: each(125) },
    { row: '15', make: alien, work: fixed(40e3) },
    { row: '16', make: weight, work: fixed(0) },
    { row: 'use', make: firstUse, work: fixed(150e3) },
  ];
}

export interface Measuring {
  readonly scores?: Float32Scores | undefined;
  /** Numbers of the rows that are wanted; all where absent. */
  readonly only?: readonly string[] | undefined;
  /** Each group of rows as it is done, with how long it took. */
  readonly onRows?: ((rows: readonly Row[], seconds: number) => void) | undefined;
  /** Often, while rows are measured. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}
/** @throws where a wanted row is not in the table */
export async function measure(bench: Bench, { scores, only, onRows, onProgress }: Measuring = {}): Promise<Row[]> {
  const all: Row[] = [];
  const rows = table(scores);
  const unknown = only?.find((name) => !rows.some(({ row }) => row === name));
  if (unknown !== undefined) throw new Error(`There is no row ${unknown}; there are ${rows.map(({ row }) => row).join(', ')}.`);
  const wanted = rows.filter(({ row }) => only?.includes(row) ?? true);
  const meter = workMeter(
    wanted.map(({ row, work }) => [row, work(bench.items)]),
    () => performance.now() / 1000,
  );
  bench.onWork = (tokens) => {
    meter.add(tokens);
    onProgress?.(meter.now());
  };
  for (const { row, make } of wanted) {
    const started = performance.now();
    meter.begin(row);
    const made = await make(bench);
    all.push(...made);
    onRows?.(made, (performance.now() - started) / 1000);
  }
  bench.onWork = undefined;
  return all;
}

/** "N passed, N failed, N skipped". */
export function lastLine(rows: readonly Row[]): string {
  const count = (verdict: Row['verdict']): number => rows.filter((row) => row.verdict === verdict).length;
  return `${count('PASS')} passed, ${count('FAIL')} failed, ${count('SKIP')} skipped`;
}
