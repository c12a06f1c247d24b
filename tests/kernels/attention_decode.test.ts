import { expect, test } from 'vitest';
import { attentionDecode, decodeSpans } from '../../src/engine/calls.ts';
import * as reference from '../../src/engine/reference.ts';
import type { ModelConfig } from '../../src/engine/types.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// attention_decode and attention_decode_merge together; positions at, below and above the end of a span of 64 keys. Scratch begins as NaN.
test.each([
  [4, 2, 8],
  [3, 1, 64],
  [2, 2, 12],
])('attention_decode of %i heads over %i of %i equals the reference, each row up to its own position', async (NH, NKV, HS) => {
  const TK = 200;
  const rows = [0, 62, 63, 64, 130, 199].map((position, b, all) => ({ position, slot: all.length - b }));
  const B = rows.length;
  const slots = B + 1;
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
  const q = randoms(B * NH * HS, 1).map((x) => 3 * x);
  const [k, v] = [randoms(slots * TK * NKV * HS, 2).map((x) => 3 * x), randoms(slots * TK * NKV * HS, 3)];
  const o = await emptyTensor([B, NH * HS]);
  const cache = [slots, TK, NKV * HS];
  await runCalls(
    ...attentionDecode(
      o,
      await emptyTensor([B, NH, decodeSpans(TK), HS]),
      await emptyTensor([B, NH, decodeSpans(TK), 2]),
      await tensorOf([B, NH * HS], q),
      await tensorOf(cache, k),
      await tensorOf(cache, v),
      await tensorOf([B, 2], Uint32Array.from(rows.flatMap(({ position, slot }) => [position, slot]))),
      config,
    ),
  );
  const got = await readFloats(o);
  for (const [b, { position, slot }] of rows.entries()) {
    const want = new Float32Array(NH * HS);
    const part = (x: Float32Array): Float32Array => x.subarray(slot * TK * NKV * HS, (slot + 1) * TK * NKV * HS);
    const shape = { B: 1, TQ: 1, TK, NH, NKV, HS, offset: position };
    const own = q.subarray(b * NH * HS, (b + 1) * NH * HS);
    reference.attentionForward(want, new Float32Array(NH), own, part(k), part(v), shape);
    expect(excess(got.slice(b * NH * HS, (b + 1) * NH * HS), want, 1e-5)).toBeLessThanOrEqual(1e-5);
  }
});
