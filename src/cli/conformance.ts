// npm run conformance -- DIR [--only PREFIX]: the real engine over a folder laid out like ../shared/fixtures. One row a case: its path, the worst
// measured difference, its tolerance, PASS, FAIL or SKIP, and what was worst. Ends with 0 where nothing failed.
import { statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openGpu } from '../engine/gpu.ts';
import { createBench } from './conformance/bench.ts';
import { type Case, formatRow, runCase } from './conformance/case.ts';
import { badCases, vocabCases } from './conformance/files.ts';
import { modelCases } from './conformance/models.ts';
import { quantCases } from './conformance/quant.ts';
import { trainCases } from './conformance/train.ts';
import { dawn } from './node/dawn.ts';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { only: { type: 'string', default: '' } } });
const folder = positionals[0];
if (folder === undefined || positionals.length > 1 || !statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
  console.error('Which folder of fixtures? npm run conformance -- DIR [--only PREFIX]');
  process.exit(2);
}

const root = path.resolve(folder);
const gpu = await openGpu(dawn());
const bench = createBench(root, gpu);
const order = (cases: readonly Case[]): Case[] => cases.filter(({ path: name }) => name.startsWith(values.only));
const cases = order([...modelCases(bench), ...trainCases(bench), ...quantCases(bench), ...vocabCases(root), ...badCases(root)]);
const width = Math.max(4, ...cases.map(({ path: name }) => name.length));

console.error(`on ${gpu.name}`);
const counts = { PASS: 0, FAIL: 0, SKIP: 0 };
for (const one of cases) {
  const row = await runCase(one);
  counts[row.verdict]++;
  console.log(formatRow(row, width));
}
bench.dispose();
gpu.device.destroy();
console.log(`${counts.PASS} passed, ${counts.FAIL} failed${counts.SKIP > 0 ? `, ${counts.SKIP} skipped` : ''}`);
process.exit(counts.FAIL === 0 ? 0 : 1);
