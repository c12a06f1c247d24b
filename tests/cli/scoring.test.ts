// What the benchmark of scoring measures: rows side by side equal rows alone, and they are faster.
import { expect, test } from 'vitest';
import { measureScoring } from '../../src/cli/bench/scoring.ts';
import { randomTensors, SHAPES } from '../../src/cli/bench/shapes.ts';
import { createEngine } from '../../src/engine/engine.ts';
import { testGpu } from '../support/gpu.ts';

test('64 rows side by side are those of one at a time, at least 3 times as many a second', async () => {
  const gpu = await testGpu();
  const { config } = SHAPES.find(({ name }) => name === 'A')!; // the sizes of stories260k
  const engine = await createEngine(gpu, { config, tensors: () => randomTensors(config) }, { storage: 'f32' });
  await engine.tune(() => false); // as after a first answer
  const { cpuRatio, different } = await measureScoring(gpu, engine, 64, 3);
  engine.dispose();
  expect(different).toBe(0);
  // By the time of this process's cores, so that what else runs here does not count.
  expect(cpuRatio).toBeGreaterThan(3);
});
