import { expect, test } from 'vitest';
import { linearForward, type Matrix } from '../../src/engine/calls.ts';
import { halves, narrow } from '../../src/engine/convert.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

async function packed(rows: number, K: number, w: Float32Array): Promise<Matrix[number]['tensor']> {
  const bits = narrow(w);
  return tensorOf([rows, K], new Uint32Array(bits.buffer), 'f16');
}

// One and two rows take linear_forward_few; from three on a tile of 8 rows x 4 columns. K numbers of size 1 are summed in f32.
test.each(
  [1, 2, 3, 7, 8, 9, 64, 70].flatMap((M) =>
    [
      [4, 4],
      [64, 36],
      [172, 132],
    ].map(([K, N]) => [M, K, N] as const),
  ),
)('linear_forward of %i rows, %i to %i, equals the reference: f32, f16, with a residual', async (M, K, N) => {
  const [x, w, r] = [randoms(M * K, 1), randoms(N * K, 2), randoms(M * N, 3)];
  const [input, residual] = [await tensorOf([M, K], x), await tensorOf([M, N], r)];
  const outputs = [];
  for (let i = 0; i < 4; i++) outputs.push(await emptyTensor([M, N]));
  const [full, half] = [[{ tensor: await tensorOf([N, K], w), first: 0 }], [{ tensor: await packed(N, K, w), first: 0 }]];
  await runCalls(
    ...linearForward(outputs[0], input, full),
    ...linearForward(outputs[1], input, full, residual),
    ...linearForward(outputs[2], input, half),
    ...linearForward(outputs[3], input, half, residual),
  );
  const expected = (weights: Float32Array, added: boolean): Float32Array => {
    const y = new Float32Array(M * N);
    reference.linearForward(y, x, weights, M, K, N);
    return added ? y.map((value, i) => value + r[i]) : y;
  };
  const rounded = halves(narrow(w));
  for (const [i, truth] of [expected(w, false), expected(w, true), expected(rounded, false), expected(rounded, true)].entries()) {
    expect(excess(await readFloats(outputs[i]), truth, 1e-5)).toBeLessThanOrEqual(1e-5);
  }
});

test.each([1, 11])('linear_forward of %i rows over shards whose last has an odd number of columns equals the reference', async (M) => {
  const [K, N] = [64, 135];
  const [x, w] = [randoms(M * K, 4), randoms(N * K, 5)];
  const input = await tensorOf([M, K], x);
  const shards: Matrix = [
    { tensor: await tensorOf([128, K], w.slice(0, 128 * K)), first: 0 },
    { tensor: await tensorOf([7, K], w.slice(128 * K)), first: 128 },
  ];
  const y = await emptyTensor([M, 136]);
  await runCalls(...linearForward(y, input, shards));
  const expected = new Float32Array(M * N);
  reference.linearForward(expected, x, w, M, K, N);
  const got = (await readFloats(y)).filter((_, i) => i % 136 < N);
  expect(excess(got, expected, 1e-5)).toBeLessThanOrEqual(1e-5);
});

test('a row has the same bits among one, two, eight and seventy rows', async () => {
  const [K, N] = [172, 68];
  const x = randoms(70 * K, 6);
  const w = [{ tensor: await tensorOf([N, K], randoms(N * K, 7)), first: 0 }];
  const rows = [];
  for (const M of [1, 2, 8, 70]) {
    const y = await emptyTensor([M, N]);
    await runCalls(...linearForward(y, await tensorOf([M, K], x.slice(0, M * K)), w));
    rows.push([...(await readFloats(y)).slice(0, N)]);
  }
  for (const row of rows.slice(1)) expect(row).toEqual(rows[0]);
});
