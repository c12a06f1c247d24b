import { expect, test } from 'vitest';
import { linearForward, PIECES } from '../../src/engine/calls.ts';
import { crossEntropy, linearBackwardInput, linearBackwardWeight } from '../../src/engine/calls-backward.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// Logits of size 3 from sums of 20 products; a softmax over 300 columns; gradients of size 0.01.
const [ATOL, RTOL] = [2e-6, 2e-5];

test.each([
  { M: 1, C: 4, V: 4 },
  { M: 8, C: 20, V: 64 },
  { M: 11, C: 20, V: 301 }, // no multiple of 4: the last logits' columns are filling
])('linear and cross-entropy of $M rows, $V ids: loss, gradients of the hidden rows and of the head', async ({ M, C, V }) => {
  const [hidden, head, oldHead] = [randoms(M * C, 1).map((x) => 3 * x), randoms(V * C, 2), randoms(V * C, 3)];
  const targets = Int32Array.from({ length: M }, (_, m) => (m % 4 === 3 ? -1 : (m * 7919) % V));
  const scale = 1 / 50;
  const [losses, lse] = [new Float32Array(M), new Float32Array(M)];
  reference.crossEntropyForward(losses, lse, hidden, head, targets, M, C, V);
  const [expected, expectedHead] = [new Float32Array(M * C), oldHead.slice()];
  reference.crossEntropyBackward(expected, expectedHead, hidden, head, lse, targets, scale, M, C, V);

  const stride = Math.ceil(V / 4) * 4;
  const cut = Math.min(V, 16); // two shards
  const shards = async (values: Float32Array) =>
    cut === V
      ? [{ tensor: await tensorOf([V, C], values), first: 0 }]
      : [
          { tensor: await tensorOf([cut, C], values.slice(0, cut * C)), first: 0 },
          { tensor: await tensorOf([V - cut, C], values.slice(cut * C)), first: cut },
        ];
  const [gpuHead, dHead] = [await shards(head), await shards(oldHead)];
  const [gpuHidden, dHidden, logits] = [await tensorOf([M, C], hidden), await emptyTensor([M, C]), await emptyTensor([M, stride])];
  const report = await tensorOf([4], Float32Array.of(0.5, 0, 0, 0));
  const micro = await tensorOf([4], new Uint32Array([0, 0, new Uint32Array(Float32Array.of(scale).buffer)[0], 0]));
  const gpuLosses = await emptyTensor([M]);
  await runCalls(
    ...linearForward(logits, gpuHidden, gpuHead),
    ...crossEntropy(
      report,
      logits,
      gpuLosses,
      await emptyTensor([M]),
      await emptyTensor([M, PIECES, 2]),
      await tensorOf([M], targets),
      micro,
      V,
    ),
    ...linearBackwardInput(dHidden, { tensor: logits, column: 0 }, gpuHead, false),
    ...linearBackwardWeight(dHead, { tensor: logits, column: 0 }, gpuHidden),
  );
  const sum = losses.reduce((a, b) => a + b, 0);
  expect(excess(await readFloats(gpuLosses), losses, RTOL)).toBeLessThanOrEqual(ATOL);
  expect(Math.abs((await readFloats(report))[0] - (0.5 + scale * sum))).toBeLessThanOrEqual(1e-5);
  expect(excess(await readFloats(dHidden), expected, RTOL)).toBeLessThanOrEqual(ATOL);
  const gotHead = Float32Array.from((await Promise.all(dHead.map(({ tensor }) => readFloats(tensor)))).flatMap((shard) => [...shard]));
  expect(excess(gotHead, expectedHead, RTOL)).toBeLessThanOrEqual(ATOL);
});
