import { expect, test } from 'vitest';
import { ropeBackward } from '../../src/engine/calls-backward.ts';
import * as reference from '../../src/engine/reference.ts';
import { excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// Two products and a sum of numbers below 1.
const [ATOL, RTOL] = [1e-6, 1e-6];

test.each([
  { B: 1, T: 1, NH: 1, NKV: 1, HS: 4 },
  { B: 2, T: 9, NH: 4, NKV: 2, HS: 16 },
  { B: 3, T: 5, NH: 3, NKV: 3, HS: 12 },
])('rope_backward turns dq and dk back and leaves dv alone: $B x $T, $NH / $NKV heads of $HS', async ({ B, T, NH, NKV, HS }) => {
  const config = { NH, NKV, HS, ropeTheta: 10000 };
  const [M, stride] = [B * T, (NH + 2 * NKV) * HS];
  const dqkv = randoms(M * stride, 1);
  const frequencies = reference.ropeFrequencies(config);
  const angles = Float32Array.from({ length: T * HS }, (_, i) => {
    const angle = Math.floor(i / HS) * frequencies[Math.floor((i % HS) / 2)];
    return i % 2 === 0 ? Math.cos(angle) : Math.sin(angle);
  });
  const part = (from: number, width: number) =>
    Float32Array.from({ length: M * width }, (_, i) => dqkv[Math.floor(i / width) * stride + from + (i % width)]);
  const [dq, dk, dv] = [part(0, NH * HS), part(NH * HS, NKV * HS), part((NH + NKV) * HS, NKV * HS)];
  reference.ropeBackward(dq, frequencies, B, T, NH, HS, 0);
  reference.ropeBackward(dk, frequencies, B, T, NKV, HS, 0);
  const expected = new Float32Array(M * stride);
  for (let m = 0; m < M; m++) {
    expected.set(dq.subarray(m * NH * HS, (m + 1) * NH * HS), m * stride);
    expected.set(dk.subarray(m * NKV * HS, (m + 1) * NKV * HS), m * stride + NH * HS);
    expected.set(dv.subarray(m * NKV * HS, (m + 1) * NKV * HS), m * stride + (NH + NKV) * HS);
  }
  const gpu = await tensorOf([M, stride], dqkv);
  const model = { architecture: 'llama', C: 4, L: 1, F: 4, V: 4, context: T, normEps: 1e-5, tied: true, stopIds: [], ...config } as const;
  await runCalls(ropeBackward(gpu, await tensorOf([T, HS / 2, 2], angles), T, model));
  expect(excess(await readFloats(gpu), expected, RTOL)).toBeLessThanOrEqual(ATOL);
});
