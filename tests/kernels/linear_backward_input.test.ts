import { describe, expect, test } from 'vitest';
import { linearBackwardInput } from '../../src/engine/calls-backward.ts';
import { STORAGES } from '../../src/engine/gpu.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, excess, matrixOf, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// Sums of N products of numbers below 1: f32 rounds each to 6e-8 of the running sum, so N = 300 stays within 1e-5.
const [ATOL, RTOL] = [1e-5, 1e-5];

const SIZES = [
  { M: 1, N: 4, K: 4 }, // below the tile
  { M: 8, N: 32, K: 8 }, // at it
  { M: 9, N: 300, K: 12 }, // above, not a multiple
  { M: 21, N: 64, K: 68 },
  { M: 70, N: 20, K: 172 },
  { M: 21, N: 12, K: 160 }, // 60 blocks, which come in eights
  { M: 9, N: 300, K: 32 },
];
describe.each(STORAGES)('linear_backward_input through %s', (storage) => {
  test.each(SIZES.filter(({ K }) => K % 32 === 0 || !storage.startsWith('q')))(
    '$M x $N by $N x $K, written and added',
    async ({ M, N, K }) => {
      const [dy, old] = [randoms(M * N, 1), randoms(M * K, 3)];
      const { tensor, values: w } = await matrixOf(storage, [N, K], randoms(N * K, 2));
      const [gpuDy, gpuW] = [await tensorOf([M, N], dy), [{ tensor, first: 0 }]];

      const written = new Float32Array(M * K);
      reference.linearBackwardInput(written, dy, w, M, K, N);
      const dx = await emptyTensor([M, K]);
      await runCalls(...linearBackwardInput(dx, { tensor: gpuDy, column: 0 }, gpuW, false));
      expect(excess(await readFloats(dx), written, RTOL)).toBeLessThanOrEqual(ATOL);

      const added = old.slice();
      reference.linearBackwardInput(added, dy, w, M, K, N);
      const sum = await tensorOf([M, K], old);
      await runCalls(...linearBackwardInput(sum, { tensor: gpuDy, column: 0 }, gpuW, true));
      expect(excess(await readFloats(sum), added, RTOL)).toBeLessThanOrEqual(ATOL);
    },
  );
});

test('linear_backward_input reads its columns of a wider gradient, shard by shard, and f16 weights', async () => {
  const [M, N, K, wide] = [13, 22, 36, 40]; // the second shard has 10 rows: its last column but two is filled up with 0
  const halves = Uint16Array.from({ length: N * K }, (_, i) => 0x3400 + ((i * 37) % 0x0400)); // 0.25 to 0.5
  const w = Float32Array.from(halves, (bits) => 0.25 * (1 + (bits & 1023) / 1024));
  const dy = randoms(M * N, 4);
  const dyWide = new Float32Array(M * wide).fill(7);
  for (let m = 0; m < M; m++) for (let n = 0; n < 24; n++) dyWide[m * wide + 8 + n] = n < N ? dy[m * N + n] : 0;
  const expected = new Float32Array(M * K);
  reference.linearBackwardInput(expected, dy, w, M, K, N);
  const shard = async (first: number, end: number) => ({
    tensor: await tensorOf([end - first, K], new Uint32Array(halves.slice(first * K, end * K).buffer), 'f16'),
    first,
  });
  const dx = await emptyTensor([M, K]);
  await runCalls(
    ...linearBackwardInput(dx, { tensor: await tensorOf([M, wide], dyWide), column: 8 }, [await shard(0, 12), await shard(12, N)], false),
  );
  expect(excess(await readFloats(dx), expected, RTOL)).toBeLessThanOrEqual(ATOL);
});
