import { expect, test } from 'vitest';
import { embedBackward, tokenRuns } from '../../src/engine/calls-backward.ts';
import * as reference from '../../src/engine/reference.ts';
import { excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// At most 60 additions of numbers below 1.
const [ATOL, RTOL] = [5e-6, 1e-6];

test.each([
  [1, 4, 3],
  [17, 20, 5],
  [100, 64, 40],
])('embed_backward of %i tokens, %i channels, %i ids, in two shards', async (M, C, V) => {
  const tokens = Uint32Array.from(randoms(M, 1), (x) => Math.floor(((x + 1) / 2) * V));
  const [dy, old] = [randoms(M * C, 2), randoms(V * C, 3)];
  const expected = old.slice();
  reference.embedBackward(expected, dy, tokens, M, C);
  const cut = Math.floor(V / 2);
  const table = [
    { tensor: await tensorOf([cut, C], old.slice(0, cut * C)), first: 0 },
    { tensor: await tensorOf([V - cut, C], old.slice(cut * C)), first: cut },
  ];
  const { order, starts, ids } = tokenRuns(tokens);
  const runs = { order: await tensorOf([M], order), starts: await tensorOf([M + 1], starts), ids: await tensorOf([M], ids) };
  await runCalls(...embedBackward(table, await tensorOf([M, C], dy), runs));
  const got = Float32Array.from([...(await readFloats(table[0].tensor)), ...(await readFloats(table[1].tensor))]);
  expect(excess(got, expected, RTOL)).toBeLessThanOrEqual(ATOL);
});

test('tokenRuns keeps the positions of one token together and rising', () => {
  const { order, starts, ids } = tokenRuns(Uint32Array.of(7, 3, 7, 0, 3, 7));
  expect([...order]).toEqual([3, 1, 4, 0, 2, 5]);
  expect([...starts]).toEqual([0, 1, 3, 6, 6, 6, 6]);
  expect([...ids.subarray(0, 4)]).toEqual([0, 3, 7, 0xffffffff]);
});
