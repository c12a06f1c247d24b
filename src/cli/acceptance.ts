// npm run acceptance -- [--seed S] [--items N] [--model DIR] [--only 1,3] [--times]: what the bundled model can do, measured in the product's own engine (Dawn
// in Node). A row: its number in the recipe's table, what is measured, the number, its threshold, PASS, FAIL or SKIP, n, the 95 % interval, a note. A row
// fails where its interval lies wholly on the wrong side. Ends with 0 where nothing failed. On stderr: which row it is at, and about how long it takes yet.
import { statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openGpu } from '../engine/gpu.ts';
import { openBench } from './acceptance/bench.ts';
import { formatProgress } from './acceptance/progress.ts';
import { formatRow } from './acceptance/row.ts';
import { DEFAULT_ITEMS, DEFAULT_SEED, lastLine, measure, readScores } from './acceptance/table.ts';
import { dawn } from './node/dawn.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(DEFAULT_SEED) },
    items: { type: 'string', default: String(DEFAULT_ITEMS) },
    model: { type: 'string', default: 'public/models/vale-micro' },
    only: { type: 'string' },
    times: { type: 'boolean', default: false },
  },
});
const items = Number(values.items);
const seed = Number(values.seed);
if (!Number.isInteger(items) || items < 1 || !Number.isInteger(seed) || !statSync(values.model, { throwIfNoEntry: false })?.isDirectory()) {
  console.error('acceptance [--seed S] [--items N] [--model DIR] [--only 1,3]: DIR holds the model, N is the number of questions a row.');
  process.exit(2);
}

const gpu = await openGpu(dawn());
const bench = await openBench(gpu, path.resolve(values.model), seed, items);
console.error(`${bench.source.name} on ${gpu.name}, seed ${seed}, ${items} questions a row${items < DEFAULT_ITEMS ? ': a smoke run' : ''}`);
const PROGRESS_MS = 10_000;
let told = performance.now();
/** Of this process and its GPU's threads: beside other work on the machine it says more than the clock does. */
const cpuSeconds = (): number => (process.cpuUsage().user + process.cpuUsage().system) / 1e6;
let spent = cpuSeconds();
const rows = await measure(bench, {
  scores: readScores(values.model),
  only: values.only?.split(','),
  onRows: (some, seconds) => {
    for (const row of some) console.log(formatRow(row));
    if (values.times) console.error(`(row ${some[0]?.row}: ${seconds.toFixed(0)} s, ${(cpuSeconds() - spent).toFixed(0)} of the CPU)`);
    spent = cpuSeconds();
  },
  onProgress: (progress) => {
    if (performance.now() - told < PROGRESS_MS) return;
    told = performance.now();
    console.error(formatProgress(progress));
  },
});
bench.dispose();
gpu.device.destroy();
console.log(lastLine(rows));
process.exit(rows.some(({ verdict }) => verdict === 'FAIL') ? 1 : 0);
