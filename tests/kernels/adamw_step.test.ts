import { expect, test } from 'vitest';
import { adamwStep, clip, normThreads } from '../../src/engine/calls-backward.ts';
import * as reference from '../../src/engine/reference.ts';
import { optionNumbers } from '../../src/engine/train.ts';
import type { AdamW } from '../../src/engine/types.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

const options: AdamW = { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.1, clipNorm: 0 };
// One step moves a weight by at most about lr; f32 keeps 1e-7 of weights below 1, and sqrt and division are good to 2.5 units in the last place.
const [ATOL, RTOL] = [1e-7, 2e-6];

test.each([
  { sizes: [64], clipNorm: 0 },
  { sizes: [64 * 5, 64], clipNorm: 0.5 },
  { sizes: [64 * 1100, 64 * 33], clipNorm: 1000 }, // more numbers than threads; a norm below the bound
])('adamw_step, sum_of_squares and clip_coefficient on buffers of $sizes numbers, clipped at $clipNorm', async ({ sizes, clipNorm }) => {
  const STEPS = 3;
  const decays = (i: number): boolean => i % 2 === 0;
  const cpu = sizes.map((n, i) => ({ n, w: randoms(n, i + 1), m: new Float32Array(n), v: new Float32Array(n), g: randoms(n, 0) }));
  const gpu = [];
  for (const { n, w, m, v, g } of cpu) {
    gpu.push({ w: await tensorOf([n], w), m: await tensorOf([n], m), v: await tensorOf([n], v), g: await tensorOf([n], g) });
  }
  const report = await tensorOf([4], Float32Array.of(1, 2, 3, 4));
  const partial = await emptyTensor([gpu.reduce((sum, { g }) => sum + normThreads(g), 0)]);
  for (let step = 1; step <= STEPS; step++) {
    const fresh = cpu.map(({ n }, i) => randoms(n, 10 * step + i));
    const norm = Math.sqrt(fresh.reduce((sum, g) => sum + reference.sumOfSquares(g), 0));
    const coefficient = reference.clipCoefficient(norm, clipNorm);
    for (const [i, { n, w, m, v }] of cpu.entries()) {
      reference.adamwStep(w, m, v, fresh[i], step, options, coefficient, decays(i));
      gpu[i] = { ...gpu[i], g: await tensorOf([n], fresh[i]) };
    }
    const numbers = await tensorOf([12], optionNumbers({ ...options, clipNorm }, step));
    await runCalls(
      ...clip(
        report,
        partial,
        gpu.map(({ g }) => g),
        numbers,
      ),
      ...gpu.map(({ w, m, v, g }, i) => adamwStep(w, m, v, g, report, numbers, decays(i))),
    );
    const [loss, gotNorm, gotCoefficient] = await readFloats(report);
    expect(loss).toBe(1);
    expect(Math.abs(gotNorm - norm)).toBeLessThanOrEqual(1e-5 * norm);
    expect(Math.abs(gotCoefficient - coefficient)).toBeLessThanOrEqual(1e-5);
  }
  for (const [i, { w, m, v }] of cpu.entries()) {
    expect(excess(await readFloats(gpu[i].w), w, RTOL)).toBeLessThanOrEqual(ATOL);
    expect(excess(await readFloats(gpu[i].m), m, RTOL)).toBeLessThanOrEqual(ATOL);
    expect(excess(await readFloats(gpu[i].v), v, RTOL)).toBeLessThanOrEqual(ATOL);
    expect((await readFloats(gpu[i].g)).every((g) => g === 0)).toBe(true);
  }
});
