// npm run acceptance -- [--seed S] [--items N] [--model DIR] [--only 1,3]: what the bundled model can do, measured in the product's own engine (Dawn in
// Node). A row: its number in the recipe's table, what is measured, the number, its threshold, PASS, FAIL or SKIP, n, the 95 % interval, a note. A row fails
// where its interval lies wholly on the wrong side. Ends with 0 where nothing failed.
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openGpu } from '../engine/gpu.ts';
import { alien } from './acceptance/alien.ts';
import { openBench } from './acceptance/bench.ts';
import { formatRow, type Row, skipped } from './acceptance/row.ts';
import {
  contextWins,
  fewShotLabels,
  fewShotRules,
  quality,
  quantization,
  type RowMaker,
  stepByStep,
  systemRules,
  weight,
} from './acceptance/rows.ts';
import { fullFineTuning, lowRank } from './acceptance/tuning.ts';
import { dawn } from './node/dawn.ts';

const DEFAULT_SEED = '2026';
const DEFAULT_ITEMS = '300';
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: DEFAULT_SEED },
    items: { type: 'string', default: DEFAULT_ITEMS },
    model: { type: 'string', default: 'public/models/vale-micro' },
    only: { type: 'string' },
  },
});
const items = Number(values.items);
const seed = Number(values.seed);
if (!Number.isInteger(items) || items < 1 || !Number.isInteger(seed) || !statSync(values.model, { throwIfNoEntry: false })?.isDirectory()) {
  console.error('acceptance [--seed S] [--items N] [--model DIR] [--only 1,3]: DIR holds the model, N is the number of questions a row.');
  process.exit(2);
}

/** The trainer's float32 scores, for the seed and number of items that the card names. */
function cardScores(): ReadonlyMap<string, number> | undefined {
  const file = path.join(values.model, 'float32-scores.json');
  if (!existsSync(file)) return undefined;
  const card: { seed: number; items: number; scores: Record<string, number> } = JSON.parse(readFileSync(file, 'utf8'));
  return card.seed === seed && card.items === items ? new Map(Object.entries(card.scores)) : undefined;
}

const later = (row: string, what: string, why: string): [string, RowMaker] => [row, async () => [skipped(row, what, why)]];
const table: readonly (readonly [row: string, make: RowMaker])[] = [
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
  ['14', quantization(cardScores())],
  ['15', alien],
  ['16', weight],
];

const gpu = await openGpu(dawn());
const bench = await openBench(gpu, path.resolve(values.model), seed, items);
console.error(
  `${bench.source.name} on ${gpu.name}, seed ${seed}, ${items} questions a row${items < Number(DEFAULT_ITEMS) ? ': a smoke run' : ''}`,
);
const only = values.only?.split(',');
const counts = { PASS: 0, FAIL: 0, SKIP: 0 };
for (const [name, make] of table) {
  if (only !== undefined && !only.includes(name)) continue;
  const rows: Row[] = await make(bench);
  for (const row of rows) {
    counts[row.verdict]++;
    console.log(formatRow(row));
  }
}
bench.dispose();
gpu.device.destroy();
console.log(`${counts.PASS} passed, ${counts.FAIL} failed, ${counts.SKIP} skipped`);
process.exit(counts.FAIL === 0 ? 0 : 1);
