import { expect, test } from 'vitest';
import { attentionBackward } from '../../src/engine/calls-backward.ts';
import * as reference from '../../src/engine/reference.ts';
import { untuned, useVariants } from '../../src/engine/tuning.ts';
import { testGpu } from '../support/gpu.ts';
import { emptyTensor, excess, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// Softmax weights are below 1 and at most 70 keys and 3 heads add up; exp of a difference of two f32 scores costs about 1e-6 of a weight.
const [ATOL, RTOL] = [2e-5, 2e-5];

const SHAPES = [
  { B: 1, TQ: 1, TK: 1, NH: 1, NKV: 1, HS: 4, offset: 0 }, // below the tile of 8 x 8
  { B: 1, TQ: 8, TK: 8, NH: 2, NKV: 1, HS: 8, offset: 0 }, // at it
  { B: 2, TQ: 13, TK: 13, NH: 4, NKV: 2, HS: 16, offset: 0 }, // above, not a multiple
  { B: 2, TQ: 6, TK: 15, NH: 6, NKV: 2, HS: 12, offset: 9 }, // fewer queries than keys: the last ones
  { B: 1, TQ: 5, TK: 7, NH: 3, NKV: 3, HS: 64, offset: 1 }, // a key that no query sees
  { B: 1, TQ: 70, TK: 70, NH: 3, NKV: 1, HS: 48, offset: 0 },
];
// A quad's kernels are compiled for a head size: some of the shapes.
const CASES = [
  ...SHAPES.map((shape) => ({ ...shape, attention: 'each for itself' })),
  ...SHAPES.slice(2).map((shape) => ({ ...shape, attention: 'quads' })),
];
test.each(CASES)('attention_backward, $attention: B $B, $TQ queries from $offset, $TK keys, heads $NH / $NKV of $HS', async (shape) => {
  const { B, TQ, TK, NH, NKV, HS, attention } = shape;
  const gpu = await testGpu();
  useVariants(gpu, { attention });
  const [nq, nk] = [B * TQ * NH * HS, B * TK * NKV * HS];
  const [dO, q, k, v] = [randoms(nq, 1), randoms(nq, 2), randoms(nk, 3), randoms(nk, 4)];
  const [o, lse] = [new Float32Array(nq), new Float32Array(B * TQ * NH)];
  reference.attentionForward(o, lse, q, k, v, shape);
  const [dq, dk, dv] = [new Float32Array(nq), new Float32Array(nk), new Float32Array(nk)];
  reference.attentionBackward(dq, dk, dv, dO, o, lse, q, k, v, shape);

  const stride = (NH + 2 * NKV) * HS;
  const [gpuDq, gpuDkv] = [await emptyTensor([B * TQ, stride]), await emptyTensor([B * TK, stride])];
  await runCalls(
    ...attentionBackward(
      gpuDq,
      gpuDkv,
      await emptyTensor([B * TQ, NH]),
      await tensorOf([B * TQ, NH * HS], dO),
      await tensorOf([B * TQ, NH * HS], o),
      await tensorOf([B * TQ, NH], lse),
      await tensorOf([B * TQ, NH * HS], q),
      await tensorOf([B * TK, NKV * HS], k),
      await tensorOf([B * TK, NKV * HS], v),
      shape,
      shape,
    ),
  );
  useVariants(gpu, untuned(gpu));
  const columns = (all: Float32Array, rows: number, from: number, width: number) =>
    Float32Array.from({ length: rows * width }, (_, i) => all[Math.floor(i / width) * stride + from + (i % width)]);
  const dkv = await readFloats(gpuDkv);
  expect(excess(columns(await readFloats(gpuDq), B * TQ, 0, NH * HS), dq, RTOL)).toBeLessThanOrEqual(ATOL);
  expect(excess(columns(dkv, B * TK, NH * HS, NKV * HS), dk, RTOL)).toBeLessThanOrEqual(ATOL);
  expect(excess(columns(dkv, B * TK, (NH + NKV) * HS, NKV * HS), dv, RTOL)).toBeLessThanOrEqual(ATOL);
});
