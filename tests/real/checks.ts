// The checks that npm run test:real bundles and starts (tests/real/run.mjs): one row a check, its verdict and what was worst, as conformance prints them.
import * as v from 'valibot';
import { createBench } from '../../src/cli/conformance/bench.ts';
import { type Case, formatRow, runCase } from '../../src/cli/conformance/case.ts';
import { dawn } from '../../src/cli/node/dawn.ts';
import { openGpu } from '../../src/engine/gpu.ts';
import { fixtureCases, smolCases } from './adapters.ts';
import { idCases, numberCases } from './ids-and-numbers.ts';
import { smolLlamaCases, storiesCases } from './llama.ts';
import { quantizedCases } from './quantized.ts';
import { siteCases } from './site.ts';
import { valeCases } from './vale.ts';
import { createWorld, Setup } from './world.ts';

const setup = v.parse(Setup, JSON.parse(process.env.MAQUETTE_REAL_SETUP ?? '{}'));
const gpu = await openGpu(dawn());
const bench = createBench('/', gpu);
const world = createWorld(bench, setup);
const numbers = numberCases(world);
const quantized = quantizedCases(world);
/** In an order in which the large model is loaded as f32, as f16, as it is and in 8 bits, each once. */
const parts: readonly (readonly [part: string, cases: readonly Case[]])[] = [
  ['ids', idCases(world)],
  ['llama', storiesCases(world)],
  ['llama', valeCases(world)],
  ['numbers', numbers.f32],
  ['quantized', quantized.f32],
  ['peft', smolCases(world)],
  ['site', siteCases(world)],
  ['llama', smolLlamaCases(world)],
  ['numbers', numbers.f16],
  ['numbers', numbers.asIs],
  ['quantized', quantized['as-is']],
  ['quantized', quantized['8-bit']],
  ['peft', fixtureCases(world)],
];
const cases = parts.flatMap(([part, own]) => (setup.parts.includes(part) ? own : []));
const width = Math.max(...cases.map(({ path }) => path.length));

console.error(`on ${gpu.name}`);
for (const one of cases) {
  const started = performance.now();
  const row = await runCase(one);
  console.log(formatRow(row, width));
  console.error(`  ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
bench.dispose();
gpu.device.destroy();
process.exit(0);
