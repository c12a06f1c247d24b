// The whole table: which rows there are, and asking for them one after the other. `acceptance` prints it, `export-bundled` writes it into the card.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import * as v from 'valibot';
import { alien } from './alien.ts';
import type { Bench } from './bench.ts';
import { firstUse } from './first-use.ts';
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

const later = (row: string, what: string, why: string): [string, RowMaker] => [row, async () => [skipped(row, what, why)]];

/** Rows by their number in the recipe's table, and what the site opens with. */
function table(scores: Float32Scores | undefined): readonly (readonly [row: string, make: RowMaker])[] {
  return [
    ['1', fewShotLabels],
    ['2', fewShotRules],
    ['3', systemRules],
    later('4', 'what a search for wordings finds', 'the search of prompts is not built'),
    ['5', stepByStep],
    later('6', 'soft prompt', 'prompt tuning is not built'),
    later('7', 'bottleneck adapters', 'adapters are not built'),
    ['8', lowRank],
    ['9', fullFineTuning],
    later('10', 'forgetting', 'it compares with methods that are not built'),
    later('11', 'the order of methods', 'the advisor is not built'),
    ['12', quality],
    ['13', contextWins],
    ['14', quantization(scores)],
    ['15', alien],
    ['16', weight],
    ['use', firstUse],
  ];
}

export interface Measuring {
  readonly scores?: Float32Scores | undefined;
  /** Numbers of the rows that are wanted; all where absent. */
  readonly only?: readonly string[] | undefined;
  /** Each group of rows as it is done, with how long it took. */
  readonly onRows?: ((rows: readonly Row[], seconds: number) => void) | undefined;
}
export async function measure(bench: Bench, { scores, only, onRows }: Measuring = {}): Promise<Row[]> {
  const all: Row[] = [];
  for (const [name, make] of table(scores)) {
    if (only !== undefined && !only.includes(name)) continue;
    const started = performance.now();
    const rows = await make(bench);
    all.push(...rows);
    onRows?.(rows, (performance.now() - started) / 1000);
  }
  return all;
}

/** "N passed, N failed, N skipped". */
export function lastLine(rows: readonly Row[]): string {
  const count = (verdict: Row['verdict']): number => rows.filter((row) => row.verdict === verdict).length;
  return `${count('PASS')} passed, ${count('FAIL')} failed, ${count('SKIP')} skipped`;
}
