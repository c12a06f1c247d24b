import { expect, test } from 'vitest';
import { swigluBackward } from '../../src/engine/calls-backward.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// A few operations a number; WGSL's exp is good to (3 + 2 |x|) units in the last place.
const [ATOL, RTOL] = [1e-6, 5e-6];

test.each([
  [1, 4],
  [2, 64],
  [5, 172],
])('swiglu_backward over %i rows of %i, and h in place of dh', async (M, F) => {
  const [dh, gate, upward] = [randoms(M * F, 1), randoms(M * F, 2).map((g) => 12 * g), randoms(M * F, 3)];
  gate[0] = -100; // exp overflows f32: the limit is 0, not NaN
  const [dgate, dup, h] = [new Float32Array(M * F), new Float32Array(M * F), new Float32Array(M * F)];
  reference.swigluBackward(dgate, dup, dh, gate, upward, M * F);
  reference.swigluForward(h, gate, upward, M * F);
  const [dgu, inPlace] = [await emptyTensor([M, 2 * F]), await tensorOf([M, F], dh)];
  await runCalls(swigluBackward(dgu, inPlace, await tensorOf([M, F], gate), await tensorOf([M, F], upward)));
  const both = await readFloats(dgu);
  const half = (at: number) => Float32Array.from({ length: M * F }, (_, i) => both[Math.floor(i / F) * 2 * F + at + (i % F)]);
  expect(excess(half(0), dgate, RTOL)).toBeLessThanOrEqual(ATOL);
  expect(excess(half(F), dup, RTOL)).toBeLessThanOrEqual(ATOL);
  expect(excess(await readFloats(inPlace), h, RTOL)).toBeLessThanOrEqual(ATOL);
});
