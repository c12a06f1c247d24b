import { expect, test } from 'vitest';
import { logProbability, PIECES } from '../../src/engine/calls.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// log_sum_exp and log_probability together: the reference is the cross-entropy of hidden rows that are the logits themselves, under an identity head.
test.each([
  [1, 1],
  [3, 31],
  [3, 32],
  [66, 33],
  [4, 300],
])('log_probability of %i rows of %i is minus the cross-entropy', async (rows, V) => {
  const stride = Math.ceil(V / 4) * 4;
  const logits = randoms(rows * stride, 1).map((x) => 30 * x);
  const targets = Int32Array.from({ length: rows }, (_, row) => (row === 1 ? -1 : (row * 13) % V));
  const [y, scratch] = [await emptyTensor([rows]), await emptyTensor([rows, PIECES, 2])];
  await runCalls(...logProbability(y, scratch, await tensorOf([rows, stride], logits), await tensorOf([rows], targets), V));
  const head = Float32Array.from({ length: V * V }, (_, i) => (i % V === Math.floor(i / V) ? 1 : 0));
  const own = logits.filter((_, i) => i % stride < V);
  const losses = new Float32Array(rows);
  reference.crossEntropyForward(losses, new Float32Array(rows), own, head, targets, rows, V, V);
  // Logits up to 30 leave 2e-6 in f32; the sum of exponentials a few units more.
  expect(
    excess(
      await readFloats(y),
      losses.map((loss) => -loss),
      1e-6,
    ),
  ).toBeLessThanOrEqual(1e-5);
});
