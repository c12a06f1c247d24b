import { expect, test } from 'vitest';
import type { Shard } from '../../src/engine/calls.ts';
import { linearForward, loraDown } from '../../src/engine/calls.ts';
import * as reference from '../../src/engine/reference.ts';
import type { Tensor } from '../../src/engine/types.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

/** Three sites on one input, of ranks below, at and above a tile of 4, with their factors in one buffer as a patch has them. */
test.each([1, 3, 4, 5, 33])('lora_down and linear_forward with three low-rank sites over %i rows equal the reference', async (M) => {
  const K = 64;
  const sizes = [
    { rank: 3, N: 36 },
    { rank: 8, N: 64 },
    { rank: 17, N: 4 },
  ];
  const x = randoms(M * K, 1);
  const A = sizes.map(({ rank }, i) => randoms(rank * K, 10 + i));
  const B = sizes.map(({ rank, N }, i) => randoms(N * rank, 20 + i));
  /** All in one tensor, each at a multiple of 256 bytes. */
  const together = async (all: readonly Float32Array[], shapes: readonly (readonly number[])[]): Promise<Tensor[]> => {
    const starts = all.map((_, i) => all.slice(0, i).reduce((sum, one) => sum + Math.ceil(one.length / 64) * 64, 0));
    const whole = new Float32Array(starts[starts.length - 1] + Math.ceil(all[all.length - 1].length / 64) * 64);
    for (const [i, one] of all.entries()) whole.set(one, starts[i]);
    const home = await tensorOf([whole.length], whole);
    return shapes.map((shape, i) => ({ ...home, shape, offset: 4 * starts[i] }));
  };
  const tensorsA = await together(
    A,
    sizes.map(({ rank }) => [rank, K]),
  );
  const tensorsB = await together(
    B,
    sizes.map(({ rank, N }) => [N, rank]),
  );
  const hidden = [0, 4, 12];
  const sites = sizes.map(({ rank }, i) => ({ place: i, rank, A: tensorsA[i], B: tensorsB[i], scale: 1, index: i, hidden: hidden[i] }));
  const scales = [0.5, 2, -1];
  const h = await emptyTensor([M, 32]);
  const starts = sizes.map(({ N }, i) => randoms(M * N, 30 + i));
  const weights = sizes.map(({ N }, i) => randoms(N * K, 40 + i));
  const outputs: Tensor[] = [];
  const scaleTensor = await tensorOf([3], Float32Array.from(scales));
  const input = await tensorOf([M, K], x);
  const calls = [loraDown(h, input, { sites, ranks: 32 })];
  for (const [i, { N }] of sizes.entries()) {
    // The last one without a residual; the first in two shards.
    const rows = i === 0 ? [0, 20, N] : [0, N];
    const matrix: Shard[] = [];
    for (const [s, first] of rows.slice(0, -1).entries()) {
      matrix.push({ tensor: await tensorOf([rows[s + 1] - first, K], weights[i].slice(first * K, rows[s + 1] * K)), first });
    }
    const residual = i < 2 ? await tensorOf([M, N], starts[i]) : undefined;
    outputs.push(await emptyTensor([M, N]));
    calls.push(...linearForward(outputs[i], input, matrix, residual, { site: sites[i], h, scales: scaleTensor }));
  }
  await runCalls(...calls);
  const gotH = await readFloats(h);
  for (const [i, { rank, N }] of sizes.entries()) {
    const [y, wantH] = [new Float32Array(M * N), new Float32Array(M * rank)];
    reference.linearForward(y, x, weights[i], M, K, N);
    if (i < 2)
      starts[i].forEach((value, at) => {
        y[at] += value;
      });
    reference.loraForward(y, wantH, x, A[i], B[i], scales[i], M, K, N, rank);
    const own = gotH.filter((_, at) => at % 32 >= hidden[i] && at % 32 < hidden[i] + rank);
    expect(excess(own, wantH, 1e-5)).toBeLessThanOrEqual(1e-5);
    expect(excess(await readFloats(outputs[i]), y, 1e-5)).toBeLessThanOrEqual(3e-5); // 17 products of sums of 64
  }
  expect(gotH.filter((_, at) => at % 32 === 3 || at % 32 >= 29).every((value) => value === 0)).toBe(true);
});
