import { expect, test } from 'vitest';
import { argmax, PIECES } from '../../src/engine/calls.ts';
import { emptyTensor, randoms, readWords, runCalls, tensorOf } from '../support/kernels.ts';

// argmax and argmax_merge together. V below, at and above the number of runs; columns past V are larger and must not be seen.
test.each([
  [1, 1],
  [2, 3],
  [3, 31],
  [3, 32],
  [70, 33],
  [5, 1000],
])('argmax of %i rows of %i is the lowest id of the largest', async (rows, V) => {
  const stride = Math.ceil(V / 4) * 4 + 4;
  // A few different values only, so that there are equals.
  const logits = randoms(rows * stride, 1).map((x, i) => (i % stride >= V ? 100 : Math.round(4 * x)));
  const token = await tensorOf([rows], new Uint32Array(rows));
  const [value, id] = [await emptyTensor([rows, PIECES]), await tensorOf([rows, PIECES], new Uint32Array(rows * PIECES))];
  await runCalls(...argmax(token, value, id, await tensorOf([rows, stride], logits), V));
  const expected = Array.from({ length: rows }, (_, row) => {
    const own = [...logits.slice(row * stride, row * stride + V)];
    return own.indexOf(Math.max(...own));
  });
  expect([...(await readWords(token))]).toEqual(expected);
});
