import { expect, test } from 'vitest';
import { rmsnormForward } from '../../src/engine/calls.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// Rows below, at and above a workgroup of 32; sums of C squares in f32 against f64 lose a few units in the last place.
test.each([
  [1, 4],
  [31, 64],
  [32, 576],
  [70, 12],
])('rmsnorm_forward of %i rows of %i equals the reference', async (M, C) => {
  const [x, w] = [randoms(M * C, 1), randoms(C, 2)];
  const [y, rstd] = [await emptyTensor([M, C]), await emptyTensor([M])];
  await runCalls(rmsnormForward(y, rstd, await tensorOf([M, C], x), await tensorOf([C], w), 1e-5));
  const [expected, expectedRstd] = [new Float32Array(M * C), new Float32Array(M)];
  reference.rmsnormForward(expected, expectedRstd, x, w, M, C, 1e-5);
  expect(excess(await readFloats(y), expected, 1e-5)).toBeLessThanOrEqual(1e-6);
  expect(excess(await readFloats(rstd), expectedRstd, 1e-5)).toBeLessThanOrEqual(1e-6);
});
