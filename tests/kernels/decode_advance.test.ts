import { expect, test } from 'vitest';
import { decodeAdvance } from '../../src/engine/calls.ts';
import { downloadBytes } from '../../src/engine/gpu.ts';
import { testGpu } from '../support/gpu.ts';
import { runCalls, tensorOf } from '../support/kernels.ts';

test('decode_advance feeds each row its token, one position further, and keeps the tokens of every step', async () => {
  const words = (...values: number[]) => tensorOf([values.length], Uint32Array.from(values), 'u32');
  const tokens = await words(9, 9, 9);
  const rows = { ...(await words(4, 2, 7, 0, 1, 1)), shape: [3, 2] };
  const history = await words(0, 9, 9, 9, 9, 9, 9, 9);
  const token = await words(5, 0, 3);
  const read = async ({ buffer }: { buffer: GPUBuffer }, n: number) => [
    ...new Uint32Array(await downloadBytes(await testGpu(), buffer, 0, 4 * n)),
  ];
  const call = decodeAdvance(tokens, rows, history, token);
  await runCalls(call, call);
  expect(await read(tokens, 3)).toEqual([5, 0, 3]);
  expect(await read(rows, 6)).toEqual([6, 2, 9, 0, 3, 1]);
  expect(await read(history, 8)).toEqual([2, 5, 0, 3, 5, 0, 3, 9]);
});
