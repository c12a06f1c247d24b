import { expect, test } from 'vitest';
import { rmsnormBackward, rmsnormBackwardGain } from '../../src/engine/calls-backward.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// Sums over at most 576 channels or 130 rows of products below 4, in f32.
const [ATOL, RTOL] = [2e-5, 1e-5];

test.each([
  [1, 4],
  [32, 64],
  [33, 68],
  [130, 576],
])('rmsnorm_backward and rmsnorm_backward_gain over %i rows of %i channels', async (M, C) => {
  const [dy, x, w, old, oldGain] = [randoms(M * C, 1), randoms(M * C, 2), randoms(C, 3), randoms(M * C, 4), randoms(C, 5)];
  const rstd = new Float32Array(M);
  reference.rmsnormForward(new Float32Array(M * C), rstd, x, w, M, C, 1e-5);
  const [expected, expectedGain] = [old.slice(), oldGain.slice()];
  reference.rmsnormBackward(expected, expectedGain, dy, x, rstd, w, M, C);
  const [dx, dw] = [await tensorOf([M, C], old), await tensorOf([C], oldGain)];
  const [gpuDy, gpuX, gpuRstd, gpuW] = [
    await tensorOf([M, C], dy),
    await tensorOf([M, C], x),
    await tensorOf([M], rstd),
    await tensorOf([C], w),
  ];
  await runCalls(rmsnormBackward(dx, gpuDy, gpuX, gpuRstd, gpuW), rmsnormBackwardGain(dw, gpuDy, gpuX, gpuRstd));
  expect(excess(await readFloats(dx), expected, RTOL)).toBeLessThanOrEqual(ATOL);
  const written = await emptyTensor([M, C]);
  await runCalls(rmsnormBackward(written, gpuDy, gpuX, gpuRstd, gpuW, false));
  const alone = new Float32Array(M * C);
  reference.rmsnormBackward(alone, undefined, dy, x, rstd, w, M, C);
  expect(excess(await readFloats(written), alone, RTOL)).toBeLessThanOrEqual(ATOL);
  expect(excess(await readFloats(dw), expectedGain, RTOL)).toBeLessThanOrEqual(ATOL);
});
