import { expect, test } from 'vitest';
import { swigluForward } from '../../src/engine/calls.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// WGSL's exp is good to 3 + 2 |x| units in the last place, and |x| is at most 20.
test.each([
  [1, 4],
  [16, 16],
  [5, 52],
])('swiglu_forward of %i rows of %i equals the reference', async (M, F) => {
  const [gate, up] = [randoms(M * F, 1).map((x) => 20 * x), randoms(M * F, 2)];
  const y = await emptyTensor([M, F]);
  await runCalls(swigluForward(y, await tensorOf([M, F], gate), await tensorOf([M, F], up)));
  const expected = new Float32Array(M * F);
  reference.swigluForward(expected, gate, up, M * F);
  expect(excess(await readFloats(y), expected, 1e-5)).toBeLessThanOrEqual(1e-6);
});

test('a gate far below zero gives zero and not NaN', async () => {
  const y = await emptyTensor([1, 4]);
  await runCalls(
    swigluForward(y, await tensorOf([1, 4], Float32Array.of(-200, -90, 90, 200)), await tensorOf([1, 4], Float32Array.of(1, 1, 1, 1))),
  );
  expect([...(await readFloats(y))]).toEqual([expect.closeTo(0), expect.closeTo(0), 90, 200]);
});
