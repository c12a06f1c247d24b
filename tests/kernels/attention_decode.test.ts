import { expect, test } from 'vitest';
import { attentionDecode, decodeScratch } from '../../src/engine/calls-decode.ts';
import * as reference from '../../src/engine/reference.ts';
import type { ModelConfig } from '../../src/engine/types.ts';
import { ropeAngles } from '../../src/engine/weights.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// attention_decode and attention_decode_merge together; positions at, below and above the end of a span of 64 keys. Scratch begins as NaN, and so does the
// place of the newest key, which comes with the call.
test.each([
  [4, 2, 8],
  [3, 1, 64],
  [2, 2, 12],
  [6, 2, 4],
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
  const [newK, newV] = [randoms(B * NKV * HS, 4).map((x) => 3 * x), randoms(B * NKV * HS, 5)];
  const width = NKV * HS;
  for (const { position, slot } of rows) {
    for (const cache of [k, v]) cache.fill(Number.NaN, (slot * TK + position) * width, (slot * TK + TK) * width);
  }
  const o = await emptyTensor([B, NH * HS]);
  const cache = [slots, TK, width];
  const [keys, values] = [await tensorOf(cache, k), await tensorOf(cache, v)];
  await runCalls(
    ...attentionDecode(
      o,
      { keys, values, partial: await emptyTensor(decodeScratch(B, TK, config)) },
      await tensorOf([B, NH * HS], q),
      await tensorOf([B, width], newK),
      await tensorOf([B, width], newV),
      await tensorOf([TK, HS / 2, 2], ropeAngles(config)),
      await tensorOf([B, 2], Uint32Array.from(rows.flatMap(({ position, slot }) => [position, slot]))),
      config,
    ),
  );
  const [got, gotKeys, gotValues] = [await readFloats(o), await readFloats(keys), await readFloats(values)];
  const frequencies = reference.ropeFrequencies(config);
  for (const [b, { position, slot }] of rows.entries()) {
    const own = q.slice(b * NH * HS, (b + 1) * NH * HS);
    const key = newK.slice(b * width, (b + 1) * width);
    reference.ropeForward(own, frequencies, 1, 1, NH, HS, position);
    reference.ropeForward(key, frequencies, 1, 1, NKV, HS, position);
    const at = (slot * TK + position) * width;
    k.set(key, at);
    v.set(newV.subarray(b * width, (b + 1) * width), at);
    const want = new Float32Array(NH * HS);
    const part = (x: Float32Array): Float32Array => x.subarray(slot * TK * width, (slot + 1) * TK * width);
    const shape = { B: 1, TQ: 1, TK, NH, NKV, HS, offset: position };
    reference.attentionForward(want, new Float32Array(NH), own, part(k), part(v), shape);
    expect(excess(got.slice(b * NH * HS, (b + 1) * NH * HS), want, 1e-5)).toBeLessThanOrEqual(1e-5);
    // The cache has the newest key and value, and is otherwise as it was. A rotation is two products and a sum.
    expect(excess(gotKeys.slice(at, at + width), key, 0)).toBeLessThanOrEqual(1e-6);
    expect(gotKeys.slice(at - position * width, at)).toEqual(k.slice(at - position * width, at));
    expect(gotValues.slice(at - position * width, at + width)).toEqual(v.slice(at - position * width, at + width));
    expect(gotKeys.slice(at + width, (slot + 1) * TK * width).every(Number.isNaN)).toBe(true);
  }
});
