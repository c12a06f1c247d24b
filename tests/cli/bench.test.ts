// The benchmark itself: on a tiny model everything is measured, the numbers are there, and the plan of the memory is held to what the device was asked for.
import { expect, test } from 'vitest';
import { readOptions } from '../../src/cli/bench/options.ts';
import { bench } from '../../src/cli/bench/run.ts';
import { dawn } from '../support/gpu.ts';

test('a tiny model: every row has positive numbers, kernels are timed, and the memory is as planned', { timeout: 300_000 }, async () => {
  const lines: string[] = [];
  const options = readOptions(['--shape', 'tiny', '--warmup', '1', '--steps', '2', '--made', '3', '--profile']);
  const ok = await bench(dawn(), options, (line) => lines.push(line));
  const rows = lines.filter((line) => line.startsWith('{')).map((line): Record<string, unknown> => JSON.parse(line));
  expect(rows.map((row) => row.bench)).toEqual(['LoRA step', 'decode, 1 row', 'decode, 8 rows', 'prefill', 'score']);
  for (const row of rows) {
    for (const name of ['ms', 'cpuMs', 'tokensPerSecond', 'dispatches', 'submits', 'gpuBytes']) expect(row[name], name).toBeGreaterThan(0);
  }
  expect(rows[0].loss).toBeGreaterThan(0);
  expect(lines.some((line) => /^linear_forward_(?:quad|wide)_f32 +\d+ +\d+\.\d+ +\d+\.\d % +\d+\.\d+$/.test(line))).toBe(true);
  expect(lines.at(-1)).toMatch(/^tiny: 2 LoRA steps at T = 16, 3 tokens made, training planned .* MiB and took .*: PASS$/);
  expect(ok).toBe(true);
});

test('an unknown shape, measurement or number is refused in words', () => {
  expect(() => readOptions(['--shape', 'C'])).toThrow('There is no shape C.');
  expect(() => readOptions(['--only', 'walk'])).toThrow('There is no walk among train');
  expect(() => readOptions(['--steps', '0'])).toThrow('--steps 0 is no whole number.');
  expect(() => readOptions(['--warmup', '0', '--storage', 'f16'])).not.toThrow();
});
