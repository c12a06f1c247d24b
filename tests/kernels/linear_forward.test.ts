import { describe, expect, test } from 'vitest';
import { linearForward, type Matrix } from '../../src/engine/calls.ts';
import { STORAGES } from '../../src/engine/gpu.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, excess, matrixOf, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// One and two rows take linear_forward_few; from three on a tile of 8 rows x 4 columns. K numbers of size 1 are summed in f32. Rows of 36 and 172 numbers
// have an odd count of fours, and no blocks of 32; 160 x 12 is 60 blocks, which come in eights.
const SIZES = [
  [4, 4],
  [64, 36],
  [172, 132],
  [160, 12],
] as const;
describe.each(STORAGES)('linear_forward of %s', (storage) => {
  const sizes = SIZES.filter(([K]) => (storage.startsWith('q') ? K % 32 === 0 : K !== 160));
  test.each([1, 2, 3, 8, 9, 70].flatMap((M) => sizes.map(([K, N]) => [M, K, N] as const)))(
    '%i rows, %i to %i, equal the reference, with a residual and without',
    async (M, K, N) => {
      const [x, w, r] = [randoms(M * K, 1), randoms(N * K, 2), randoms(M * N, 3)];
      const [input, residual] = [await tensorOf([M, K], x), await tensorOf([M, N], r)];
      const [plain, added] = [await emptyTensor([M, N]), await emptyTensor([M, N])];
      const { tensor, values } = await matrixOf(storage, [N, K], w);
      const matrix: Matrix = [{ tensor, first: 0 }];
      await runCalls(...linearForward(plain, input, matrix), ...linearForward(added, input, matrix, residual));
      const truth = new Float32Array(M * N);
      reference.linearForward(truth, x, values, M, K, N);
      expect(excess(await readFloats(plain), truth, 1e-5)).toBeLessThanOrEqual(1e-5);
      const sums = truth.map((value, i) => value + r[i]);
      expect(excess(await readFloats(added), sums, 1e-5)).toBeLessThanOrEqual(1e-5);
    },
  );

  test('a row has the same bits among one, two, eight and seventy rows', async () => {
    const [K, N] = [storage.startsWith('q') ? 160 : 172, 68];
    const x = randoms(70 * K, 6);
    const w = [{ tensor: (await matrixOf(storage, [N, K], randoms(N * K, 7))).tensor, first: 0 }];
    const rows = [];
    for (const M of [1, 2, 8, 70]) {
      const y = await emptyTensor([M, N]);
      await runCalls(...linearForward(y, await tensorOf([M, K], x.slice(0, M * K)), w));
      rows.push([...(await readFloats(y)).slice(0, N)]);
    }
    for (const row of rows.slice(1)) expect(row).toEqual(rows[0]);
  });
});

test.each([
  [1, 'f32'],
  [11, 'f32'],
  [1, 'q8_0'],
  [11, 'q4_1'],
  [1, 'q4f16_1'],
  [11, 'q4f32_1'],
] as const)(
  'linear_forward of %i rows over shards of %s whose last has an odd number of columns equals the reference',
  async (M, storage) => {
    const [K, N] = [64, 135];
    const x = randoms(M * K, 4);
    const input = await tensorOf([M, K], x);
    const [upper, lower] = [await matrixOf(storage, [128, K], randoms(128 * K, 5)), await matrixOf(storage, [7, K], randoms(7 * K, 6))];
    const w = Float32Array.of(...upper.values, ...lower.values);
    const shards: Matrix = [
      { tensor: upper.tensor, first: 0 },
      { tensor: lower.tensor, first: 128 },
    ];
    const y = await emptyTensor([M, 136]);
    await runCalls(...linearForward(y, input, shards));
    const expected = new Float32Array(M * N);
    reference.linearForward(expected, x, w, M, K, N);
    const got = (await readFloats(y)).filter((_, i) => i % 136 < N);
    expect(excess(got, expected, 1e-5)).toBeLessThanOrEqual(1e-5);
  },
);
