import { expect, test } from 'vitest';
import { embedForward } from '../../src/engine/calls.ts';
import { STORAGES } from '../../src/engine/gpu.ts';
import * as reference from '../../src/engine/reference.ts';
import { emptyTensor, matrixOf, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';

// Copies, and a product and a sum that are rounded once: equal bit for bit, whatever the shards.
test.each(STORAGES.flatMap((storage) => [1, 5, 64, 65].map((M) => [M, storage] as const)))(
  'embed_forward of %i tokens reads rows of %s, from one shard or two',
  async (M, storage) => {
    const [V, C] = [21, storage.startsWith('q') ? 96 : 12];
    const table = randoms(V * C, 1);
    const ids = Uint32Array.from({ length: M }, (_, m) => (m * 8) % V);
    const tokens = await tensorOf([M], ids);
    const [one, two] = [await emptyTensor([M, C]), await emptyTensor([M, C])];
    const { tensor, values } = await matrixOf(storage, [V, C], table);
    await runCalls(
      ...embedForward(one, tokens, [{ tensor, first: 0 }]),
      ...embedForward(two, tokens, [
        { tensor: (await matrixOf(storage, [8, C], table.slice(0, 8 * C))).tensor, first: 0 },
        { tensor: (await matrixOf(storage, [V - 8, C], table.slice(8 * C))).tensor, first: 8 },
      ]),
    );
    const expected = new Float32Array(M * C);
    reference.embedForward(expected, ids, values, M, C);
    expect(await readFloats(one)).toEqual(expected);
    expect(await readFloats(two)).toEqual(expected);
  },
);
