import { expect, test } from 'vitest';
import { linearBackwardWeight } from '../../src/engine/calls-backward.ts';
import * as reference from '../../src/engine/reference.ts';
import { excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// Sums of M products of numbers below 1: f32 rounds each to 6e-8 of the running sum, so M = 300 stays within 1e-5.
const [ATOL, RTOL] = [1e-5, 1e-5];

test.each([
  { M: 1, N: 4, K: 4, column: 0 }, // below the tile
  { M: 8, N: 8, K: 8, column: 0 }, // at it
  { M: 300, N: 12, K: 20, column: 4 }, // above, not a multiple
  { M: 33, N: 68, K: 172, column: 8 },
  { M: 5, N: 10, K: 12, column: 0 }, // N no multiple of 4, as a vocabulary may be
])('linear_backward_weight adds dy^T x, $M x $N and $M x $K', async ({ M, N, K, column }) => {
  const wide = Math.ceil((N + column) / 4) * 4 + 4;
  const [dy, x, old] = [randoms(M * N, 1), randoms(M * K, 2), randoms(N * K, 3)];
  const dyWide = new Float32Array(M * wide);
  for (let m = 0; m < M; m++) for (let n = 0; n < N; n++) dyWide[m * wide + column + n] = dy[m * N + n];
  const expected = old.slice();
  reference.linearBackwardWeight(expected, dy, x, M, K, N);
  const dw = await tensorOf([N, K], old);
  await runCalls(
    ...linearBackwardWeight([{ tensor: dw, first: 0 }], { tensor: await tensorOf([M, wide], dyWide), column }, await tensorOf([M, K], x)),
  );
  expect(excess(await readFloats(dw), expected, RTOL)).toBeLessThanOrEqual(ATOL);
});
