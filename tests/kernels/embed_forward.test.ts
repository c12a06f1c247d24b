import { expect, test } from 'vitest';
import { embedForward } from '../../src/engine/calls.ts';
import { halves, narrow } from '../../src/engine/convert.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// Copies: equal bit for bit, whatever the shards.
test.each([1, 5, 64, 65])('embed_forward of %i tokens copies rows, from one shard or two, f32 or f16', async (M) => {
  const [V, C] = [21, 12];
  const table = randoms(V * C, 1);
  const ids = Uint32Array.from({ length: M }, (_, m) => (m * 8) % V);
  const tokens = await tensorOf([M], ids);
  const [one, two, half] = [await emptyTensor([M, C]), await emptyTensor([M, C]), await emptyTensor([M, C])];
  const bits = narrow(table);
  await runCalls(
    ...embedForward(one, tokens, [{ tensor: await tensorOf([V, C], table), first: 0 }]),
    ...embedForward(two, tokens, [
      { tensor: await tensorOf([8, C], table.slice(0, 8 * C)), first: 0 },
      { tensor: await tensorOf([V - 8, C], table.slice(8 * C)), first: 8 },
    ]),
    ...embedForward(half, tokens, [{ tensor: await tensorOf([V, C], new Uint32Array(bits.buffer), 'f16'), first: 0 }]),
  );
  const expected = new Float32Array(M * C);
  reference.embedForward(expected, ids, table, M, C);
  expect(await readFloats(one)).toEqual(expected);
  expect(await readFloats(two)).toEqual(expected);
  reference.embedForward(expected, ids, halves(bits), M, C);
  expect(await readFloats(half)).toEqual(expected);
});
