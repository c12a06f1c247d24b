import { expect, test } from 'vitest';
import { gatherRows } from '../../src/engine/calls.ts';
import { emptyTensor, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

test.each([1, 7, 64, 65])('gather_rows copies %i rows by their numbers', async (rows) => {
  const [M, C] = [90, 12];
  const x = randoms(M * C, 1);
  const index = Uint32Array.from({ length: rows }, (_, i) => (i * 37) % M);
  const y = await emptyTensor([rows, C]);
  await runCalls(gatherRows(y, await tensorOf([M, C], x), await tensorOf([rows], index)));
  expect([...(await readFloats(y))]).toEqual([...index].flatMap((row) => [...x.slice(row * C, (row + 1) * C)]));
});

test('gather_rows writes zeros where there is no row, whatever lies past the end', async () => {
  const none = 0xffffffff;
  const x = randoms(5 * 4, 2);
  const y = await emptyTensor([4, 4]);
  await runCalls(gatherRows(y, await tensorOf([5, 4], x), await tensorOf([4], Uint32Array.of(none, 4, none, 0))));
  expect([...(await readFloats(y))]).toEqual([0, 0, 0, 0, ...x.slice(16), 0, 0, 0, 0, ...x.slice(0, 4)]);
});
