import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { attentionForward } from '../../src/engine/calls.ts';
import * as reference from '../../src/engine/reference.ts';
import { untuned, useVariants } from '../../src/engine/tuning.ts';
import type { ModelConfig } from '../../src/engine/types.ts';
import { testGpu } from '../support/gpu.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

/** Runs rows at positions of their own against slots of a cache of TK keys, and compares row by row with the reference. */
async function compare(
  T: number,
  TK: number,
  NH: number,
  NKV: number,
  HS: number,
  rows: readonly { position: number; slot: number }[],
): Promise<void> {
  const B = rows.length;
  const slots = Math.max(...rows.map((row) => row.slot)) + 1;
  const config: ModelConfig = {
    architecture: 'llama',
    C: NH * HS,
    L: 1,
    NH,
    NKV,
    HS,
    F: 4,
    V: 4,
    context: TK,
    normEps: 1e-5,
    ropeTheta: 100,
    tied: true,
    stopIds: [],
  };
  const q = randoms(B * T * NH * HS, 1).map((x) => 3 * x);
  const [k, v] = [randoms(slots * TK * NKV * HS, 2).map((x) => 3 * x), randoms(slots * TK * NKV * HS, 3)];
  const [o, lse] = [await emptyTensor([B * T, NH * HS]), await emptyTensor([B * T, NH])];
  const cache = [slots, TK, NKV * HS];
  await runCalls(
    attentionForward(
      o,
      lse,
      await tensorOf([B * T, NH * HS], q),
      await tensorOf(cache, k),
      await tensorOf(cache, v),
      await tensorOf([B, 2], Uint32Array.from(rows.flatMap(({ position, slot }) => [position, slot]))),
      { B, T },
      config,
    ),
  );
  const [gotO, gotLse] = [await readFloats(o), await readFloats(lse)];
  rows.forEach(({ position, slot }, b) => {
    const [wantO, wantLse] = [new Float32Array(T * NH * HS), new Float32Array(T * NH)];
    const part = (x: Float32Array): Float32Array => x.subarray(slot * TK * NKV * HS, (slot + 1) * TK * NKV * HS);
    const shape = { B: 1, TQ: T, TK, NH, NKV, HS, offset: position };
    reference.attentionForward(wantO, wantLse, q.subarray(b * T * NH * HS, (b + 1) * T * NH * HS), part(k), part(v), shape);
    // Up to TK exponentials of f32, each good to a few units in the last place, in a sum.
    expect(excess(gotO.slice(b * T * NH * HS, (b + 1) * T * NH * HS), wantO, 1e-5)).toBeLessThanOrEqual(1e-5);
    expect(excess(gotLse.slice(b * T * NH, (b + 1) * T * NH), wantLse, 1e-5)).toBeLessThanOrEqual(1e-5);
  });
}

describe.each(['each for itself', 'quads'])('%s:', (attention) => {
  beforeEach(async () => useVariants(await testGpu(), { attention }));
  afterEach(async () => useVariants(await testGpu(), untuned(await testGpu())));

  test.each([1, 3, 4, 5, 16, 17, 63, 64, 65])('attention_forward of %i tokens among themselves equals the reference', async (T) => {
    await compare(T, T, 4, 2, 8, [
      { position: 0, slot: 0 },
      { position: 0, slot: 1 },
    ]);
  });
  test.each([4, 12, 64, 80])('attention_forward with heads of %i equals the reference', async (HS) => {
    await compare(9, 9, 3, 1, HS, [{ position: 0, slot: 0 }]);
  });
  test('rows at positions of their own see the keys of their slot up to there', async () => {
    await compare(1, 40, 4, 4, 16, [
      { position: 0, slot: 3 },
      { position: 17, slot: 0 },
      { position: 39, slot: 2 },
    ]);
    await compare(6, 40, 4, 2, 16, [
      { position: 5, slot: 1 },
      { position: 34, slot: 0 },
    ]);
  });
});
