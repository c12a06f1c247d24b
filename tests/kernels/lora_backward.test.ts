import { expect, test } from 'vitest';
import type { LowRankGroup } from '../../src/engine/calls.ts';
import { linearBackwardInput, loraBackward, loraDownDropout } from '../../src/engine/calls-backward.ts';
import type { Call } from '../../src/engine/gpu.ts';
import * as reference from '../../src/engine/reference.ts';
import type { Tensor } from '../../src/engine/types.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// Sums of at most 140 products of numbers below 2, twice in a row.
const [ATOL, RTOL] = [5e-5, 2e-5];
const [SEED, COUNTER] = [1234567, 89];

interface Case {
  readonly M: number;
  readonly K: number;
  readonly sites: readonly { readonly N: number; readonly rank: number; readonly scale: number }[];
  readonly rate: number;
}
const cases: readonly Case[] = [
  { M: 1, K: 4, sites: [{ N: 4, rank: 1, scale: 2 }], rate: 0 }, // below the tiles
  { M: 8, K: 8, sites: [{ N: 8, rank: 4, scale: 0.5 }], rate: 0 }, // at them
  {
    M: 37,
    K: 68,
    sites: [
      { N: 20, rank: 5, scale: 2 },
      { N: 12, rank: 8, scale: 1 },
      { N: 4, rank: 2, scale: 4 },
    ],
    rate: 0,
  },
  {
    M: 37,
    K: 68,
    sites: [
      { N: 20, rank: 5, scale: 2 },
      { N: 12, rank: 3, scale: 1 },
    ],
    rate: 0.25,
  },
  { M: 140, K: 36, sites: [{ N: 44, rank: 16, scale: 1 }], rate: 0.1 },
];

test.each(cases)('lora_backward over $M rows of $K, dropout $rate: $sites', async ({ M, K, sites, rate }) => {
  // Factors lie in one buffer, 64 numbers apart at least, and gradients in another at the same places.
  const up64 = (n: number): number => Math.ceil(n / 64) * 64;
  const sizes = sites.flatMap(({ N, rank }) => [rank * K, N * rank]);
  const order = [...sizes.keys()].sort((i, j) => (i % 2) - (j % 2) || i - j); // all A, then all B
  const places: number[] = [];
  let total = 64;
  for (const i of order) {
    places[i] = total;
    total += up64(sizes[i]);
  }
  const [values, old] = [randoms(total, 1), randoms(total, 2)];
  const [w, g] = [await tensorOf([total], values), await tensorOf([total], old)];
  const view = (whole: Tensor, i: number, shape: readonly number[]): Tensor => ({ ...whole, offset: 4 * places[i], shape });

  const padded = sites.map(({ rank }) => Math.ceil(rank / 4) * 4);
  const before = (list: readonly number[], i: number): number => list.slice(0, i).reduce((sum, n) => sum + n, 0);
  const group: LowRankGroup = {
    ranks: before(padded, padded.length),
    sites: sites.map(({ N, rank, scale }, i) => ({
      place: 9 + i,
      rank,
      A: view(w, 2 * i, [rank, K]),
      B: view(w, 2 * i + 1, [N, rank]),
      scale,
      index: i,
      hidden: before(padded, i),
    })),
  };
  const widths = sites.map(({ N }) => N);
  const columns = widths.map((_, i) => 4 + before(widths, i)); // 4 columns of something else in front
  const stride = 4 + before(widths, widths.length);
  const [x, dy, oldDx] = [randoms(M * K, 3), randoms(M * stride, 4), randoms(M * K, 5)];

  const expectedDx = oldDx.slice();
  const expectedG = old.slice();
  const expectedH = new Float32Array(M * group.ranks);
  sites.forEach(({ N, rank, scale }, i) => {
    const keep = Float32Array.from({ length: M * K }, (_, at) => reference.dropoutKeep(SEED, COUNTER, 9 + i, at, rate));
    const factor = (of: Float32Array, j: number) => of.subarray(places[j], places[j] + sizes[j]);
    const own = Float32Array.from({ length: M * N }, (_, at) => dy[Math.floor(at / N) * stride + columns[i] + (at % N)]);
    const h = new Float32Array(M * rank);
    const [A, B] = [factor(values, 2 * i), factor(values, 2 * i + 1)];
    reference.loraForward(new Float32Array(M * N), h, x, A, B, scale, M, K, N, rank, keep);
    h.forEach((value, at) => {
      expectedH[Math.floor(at / rank) * group.ranks + before(padded, i) + (at % rank)] = value;
    });
    reference.loraBackward(expectedDx, factor(expectedG, 2 * i), factor(expectedG, 2 * i + 1), own, h, x, A, B, scale, M, K, N, rank, keep);
  });

  const dropout = { micro: await tensorOf([4], Uint32Array.of(SEED, COUNTER, 0, 0)), rate };
  const [h, dh] = [await emptyTensor([M, group.ranks]), await emptyTensor([M, group.ranks])];
  const [dx, gpuX, gpuDy] = [await tensorOf([M, K], oldDx), await tensorOf([M, K], x), await tensorOf([M, stride], dy)];
  const gradient = (factor: Tensor): Tensor => ({ ...factor, buffer: g.buffer });
  const used = rate === 0 ? undefined : dropout;
  const { hidden, factors } = loraBackward(gradient, dh, gpuDy, h, gpuX, group, columns, used);
  const inputs: Call[] = [];
  for (const [i, site] of group.sites.entries()) {
    // Through a linear of zeros comes the low-rank part alone.
    const zeros = [{ tensor: await tensorOf([widths[i], K], new Float32Array(widths[i] * K)), first: 0 }];
    inputs.push(...linearBackwardInput(dx, { tensor: gpuDy, column: columns[i] }, zeros, true, { site, dh, dropout: used }));
  }
  await runCalls(loraDownDropout(h, gpuX, group, dropout), hidden, ...inputs, factors);
  expect(excess(await readFloats(h), expectedH, RTOL)).toBeLessThanOrEqual(ATOL);
  expect(excess(await readFloats(dx), expectedDx, RTOL)).toBeLessThanOrEqual(ATOL);
  expect(excess(await readFloats(g), expectedG, RTOL)).toBeLessThanOrEqual(ATOL); // what lies between the factors is untouched
});
