import { describe, expect, test } from 'vitest';
import { type LowRankSite, linearForward, swigluForward } from '../../src/engine/calls.ts';
import { linearForwardSwiglu, linearForwardThree } from '../../src/engine/calls-decode.ts';
import { kernelSource, STORAGES } from '../../src/engine/gpu.ts';
import { emptyTensor, excess, matrixOf, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// linear_forward_three and linear_forward_swiglu against the linears one by one, which have tests of their own. Columns below, at and above a workgroup's 128,
// of unlike widths; rows of 172 numbers have an odd count of fours.
describe.each(STORAGES)('linears of %s that share an input', (storage) => {
  const widths = storage.startsWith('q') ? [160, 64] : [172, 36];
  test.each([1, 2].flatMap((M) => widths.map((K) => [M, K] as const)))('%i rows of %i: three in one have the same bits', async (M, K) => {
    const sizes = [132, 8, 128] as const;
    const x = await tensorOf([M, K], randoms(M * K, 1));
    const matrix = async (N: number, seed: number) => [
      { tensor: (await matrixOf(storage, [N, K], randoms(N * K, seed))).tensor, first: 0 },
    ];
    const [q, k, v] = [await matrix(sizes[0], 2), await matrix(sizes[1], 3), await matrix(sizes[2], 4)];
    const empty = async () => [await emptyTensor([M, 132]), await emptyTensor([M, 8]), await emptyTensor([M, 128])] as const;
    const [together, alone] = [await empty(), await empty()];
    const call = linearForwardThree(together, x, [q, k, v]);
    expect(call).toBeDefined();
    await runCalls(...(call ? [call] : []), ...[q, k, v].flatMap((w, i) => linearForward(alone[i], x, w)));
    for (const [i, y] of together.entries()) {
      const got = await readFloats(y);
      expect(got.every(Number.isFinite)).toBe(true);
      expect(got).toEqual(await readFloats(alone[i]));
    }
  });

  test.each([1, 2])('%i rows: gate and up with swiglu between them equal the three calls', async (M) => {
    const [K, N] = [widths[0], 140];
    const x = await tensorOf([M, K], randoms(M * K, 1));
    const matrix = async (seed: number) => [{ tensor: (await matrixOf(storage, [N, K], randoms(N * K, seed))).tensor, first: 0 }];
    const [gate, up] = [await matrix(2), await matrix(3)];
    const [y, h, g, u] = await Promise.all([1, 2, 3, 4].map(() => emptyTensor([M, N])));
    const call = linearForwardSwiglu(y, x, gate, up);
    expect(call).toBeDefined();
    await runCalls(...(call ? [call] : []), ...linearForward(g, x, gate), ...linearForward(u, x, up), swigluForward(h, g, u));
    // The sums have the same bits; a compiler may fuse what follows them.
    expect(excess(await readFloats(y), await readFloats(h), 1e-6)).toBeLessThanOrEqual(1e-6);
  });
});

// The parts are one fragment for all storages.
describe.each(['f32', 'q4_1'] as const)('linears of %s that share an input and have low-rank parts', (storage) => {
  const K = 160;
  /** Parts of rank 5, none and 8, as a group lays them out. */
  async function parts(M: number, sizes: readonly number[]) {
    const ranks = [5, 0, 8].slice(0, sizes.length);
    const widths = ranks.map((rank) => Math.ceil(rank / 4) * 4);
    const starts = widths.map((_, i) => widths.slice(0, i).reduce((sum, width) => sum + width, 0));
    const all = widths.reduce((sum, width) => sum + width, 0);
    const filled = Float32Array.from({ length: M * all }, (_, i) => {
      const column = i % all;
      const own = starts.findLastIndex((start, at) => column >= start && (widths[at] ?? 0) > 0);
      return column - starts[own] < ranks[own] ? Math.sin(i + 1) : 0;
    });
    const home = await tensorOf([4096], randoms(4096, 9)); // as a patch's buffer, each B at a multiple of 256 bytes
    const sites = ranks.map((rank, i): LowRankSite | undefined => {
      const B = { ...home, offset: i * 4096, shape: [sizes[i], rank] };
      return rank === 0 ? undefined : { place: i, rank, A: B, B, scale: 1, index: i, hidden: starts[i] };
    });
    return { sites, h: await tensorOf([M, all], filled), scales: await tensorOf([3], Float32Array.of(0.5, 7, 1.25)) };
  }
  const matrix = async (N: number, seed: number) => [{ tensor: (await matrixOf(storage, [N, K], randoms(N * K, seed))).tensor, first: 0 }];

  test.each([1, 2])('%i rows: three in one have the same bits', async (M) => {
    const sizes = [132, 8, 128] as const;
    const x = await tensorOf([M, K], randoms(M * K, 1));
    const ws = [await matrix(sizes[0], 2), await matrix(sizes[1], 3), await matrix(sizes[2], 4)] as const;
    const empty = async () => [await emptyTensor([M, 132]), await emptyTensor([M, 8]), await emptyTensor([M, 128])] as const;
    const [together, alone] = [await empty(), await empty()];
    const { sites, h, scales } = await parts(M, sizes);
    const call = linearForwardThree(together, x, ws, { sites, h, scales });
    expect(call?.kernel).toBe(`linear_forward_three_lora_${storage}`);
    const separate = ws.flatMap((w, i) => linearForward(alone[i], x, w, undefined, sites[i] && { site: sites[i], h, scales }));
    await runCalls(...(call ? [call] : []), ...separate);
    for (const [i, y] of together.entries()) {
      const got = await readFloats(y);
      expect(got.every(Number.isFinite)).toBe(true);
      expect(got).toEqual(await readFloats(alone[i]));
    }
  });

  test('gate and up with swiglu between them equal the three calls', async () => {
    const [M, N] = [2, 140];
    const x = await tensorOf([M, K], randoms(M * K, 1));
    const [gate, up] = [await matrix(N, 2), await matrix(N, 3)];
    const [y, a, g, u] = await Promise.all([1, 2, 3, 4].map(() => emptyTensor([M, N])));
    const { sites, h, scales } = await parts(M, [N, N]);
    const own = sites[0] && { site: sites[0], h, scales };
    const call = linearForwardSwiglu(y, x, gate, up, { sites, h, scales });
    expect(call?.kernel).toBe(`linear_forward_swiglu_lora_${storage}`);
    await runCalls(
      ...(call ? [call] : []),
      ...linearForward(g, x, gate, undefined, own),
      ...linearForward(u, x, up),
      swigluForward(a, g, u),
    );
    expect(excess(await readFloats(y), await readFloats(a), 1e-6)).toBeLessThanOrEqual(1e-6);
  });
});

test('matrices in shards, of unlike storage, or for more rows are left to their own calls', async () => {
  const x = await tensorOf([1, 64], randoms(64, 1));
  const matrix = async (storage: 'f32' | 'f16') => [{ tensor: (await matrixOf(storage, [8, 64], randoms(512, 2))).tensor, first: 0 }];
  const [a, b] = [await matrix('f32'), await matrix('f16')];
  const y = await emptyTensor([1, 8]);
  expect(linearForwardSwiglu(y, x, a, b)).toBeUndefined();
  expect(linearForwardThree([y, y, y], x, [a, b, a])).toBeUndefined();
  expect(linearForwardSwiglu(y, x, [...a, ...a], a)).toBeUndefined();
  expect(linearForwardSwiglu(y, { ...x, shape: [3, 64] }, a, a)).toBeUndefined();
});

test('a copy of a file has its own names and bindings', () => {
  const text = kernelSource('linear_forward_three_q8_0');
  for (const line of [
    '@binding(3) var<storage, read> weights:',
    '@binding(5) var<storage, read> weights_2:',
    'fn weight8_2(',
    'fn few_sum_1(',
  ]) {
    expect(text).toContain(line);
  }
  expect(text.match(/fn scale\(/g)).toHaveLength(1);
});
