import { expect, test } from 'vitest';
import { ropeCache, ropeForward } from '../../src/engine/calls.ts';
import * as reference from '../../src/engine/reference.ts';
import type { ModelConfig } from '../../src/engine/types.ts';
import { ropeAngles } from '../../src/engine/weights.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

function configOf(NH: number, NKV: number, HS: number): ModelConfig {
  return {
    architecture: 'llama',
    C: NH * HS,
    L: 1,
    NH,
    NKV,
    HS,
    F: 4,
    V: 4,
    context: 64,
    normEps: 1e-5,
    ropeTheta: 100,
    tied: true,
    stopIds: [],
  };
}
/** The reference, row by row, each at its own position. */
function rotated(x: Float32Array, config: ModelConfig, T: number, heads: number, positions: readonly number[]): Float32Array {
  const out = x.slice();
  const width = T * heads * config.HS;
  positions.forEach((position, b) => {
    reference.ropeForward(out.subarray(b * width, (b + 1) * width), reference.ropeFrequencies(config), 1, T, heads, config.HS, position);
  });
  return out;
}

// Angles are rounded to f32 once; a rotation is two products and a sum.
test.each([
  [1, 1, 1, 1, 4],
  [2, 5, 4, 2, 8],
  [3, 17, 3, 1, 20],
])('rope_forward of %i rows of %i tokens, %i over %i heads of %i, equals the reference', async (B, T, NH, NKV, HS) => {
  const config = configOf(NH, NKV, HS);
  const positions = Array.from({ length: B }, (_, b) => b * 7);
  const [q, k] = [randoms(B * T * NH * HS, 1), randoms(B * T * NKV * HS, 2)];
  const [tq, tk] = [await tensorOf([B * T, NH * HS], q), await tensorOf([B * T, NKV * HS], k)];
  const angles = await tensorOf([64, HS / 2, 2], ropeAngles(config));
  const rows = await tensorOf([B, 2], Uint32Array.from(positions.flatMap((p, b) => [p, b])));
  await runCalls(ropeForward(tq, tk, angles, rows, { B, T }, config));
  expect(excess(await readFloats(tq), rotated(q, config, T, NH, positions), 0)).toBeLessThanOrEqual(1e-6);
  expect(excess(await readFloats(tk), rotated(k, config, T, NKV, positions), 0)).toBeLessThanOrEqual(1e-6);
});

test('rope_cache puts rotated keys and values at their positions in their slots, and leaves the rest of the cache alone', async () => {
  const [B, T, NH, NKV, HS, TK] = [2, 5, 4, 2, 8, 12];
  const config = configOf(NH, NKV, HS);
  const [positions, slots] = [
    [3, 9],
    [2, 0],
  ]; // the second row's last two tokens stand past the end, and are padding
  const [q, k, v] = [randoms(B * T * NH * HS, 1), randoms(B * T * NKV * HS, 2), randoms(B * T * NKV * HS, 3)];
  const tq = await tensorOf([B * T, NH * HS], q);
  const [keys, values] = [await emptyTensor([3, TK, NKV * HS]), await emptyTensor([3, TK, NKV * HS])];
  const [tk, tv] = [await tensorOf([B * T, NKV * HS], k), await tensorOf([B * T, NKV * HS], v)];
  const angles = await tensorOf([64, HS / 2, 2], ropeAngles(config));
  const rows = await tensorOf([B, 2], Uint32Array.from(positions.flatMap((p, b) => [p, slots[b]])));
  await runCalls(ropeCache(tq, keys, values, tk, tv, angles, rows, { B, T }, config));
  const [rq, rk] = [rotated(q, config, T, NH, positions), rotated(k, config, T, NKV, positions)];
  const [gotQ, gotKeys, gotValues] = [await readFloats(tq), await readFloats(keys), await readFloats(values)];
  const width = NKV * HS;
  let written = 0;
  for (let b = 0; b < B; b++) {
    for (let t = 0; t < T && positions[b] + t < TK; t++) {
      const from = (b * T + t) * width;
      const to = (slots[b] * TK + positions[b] + t) * width;
      expect(excess(gotKeys.slice(to, to + width), rk.slice(from, from + width), 0)).toBeLessThanOrEqual(1e-6);
      expect(gotValues.slice(to, to + width)).toEqual(v.slice(from, from + width));
      const at = (b * T + t) * NH * HS;
      expect(excess(gotQ.slice(at, at + NH * HS), rq.slice(at, at + NH * HS), 0)).toBeLessThanOrEqual(1e-6);
      written += width;
    }
  }
  expect(gotKeys.filter((x) => !Number.isNaN(x))).toHaveLength(written);
  expect(gotValues.filter((x) => !Number.isNaN(x))).toHaveLength(written);
});
