import { describe, expect, test } from 'vitest';
import { PIECES } from '../../src/engine/calls.ts';
import { drawsOf, drawToken, optionNumbers, takeLargest } from '../../src/engine/calls-decode.ts';
import { sampleToken } from '../../src/engine/sampling.ts';
import type { Sampling } from '../../src/engine/types.ts';
import { emptyTensor, randoms, readWords, runCalls, tensorOf } from '../support/kernels.ts';

type Options = Pick<Sampling, 'temperature' | 'topK' | 'topP'>;
const GREEDY: Options = { temperature: 0, topK: 0, topP: 1 };

/** Tokens of `steps` steps, a list a step, over the same logits (rows, stride), V columns of which count. */
async function draw(
  logits: Float32Array,
  [rows, stride, V]: readonly [number, number, number],
  options: Options,
  seeds: readonly number[],
  steps = 1,
  drawn = 0,
  threads = 4,
): Promise<number[][]> {
  const words = (n: number) => tensorOf([n], new Uint32Array(n), 'u32');
  const [tokens, history] = [await words(rows), await words(steps * rows)];
  const draws = await tensorOf([rows, 4], drawsOf(seeds.map((seed) => ({ seed, drawn }))), 'u32');
  const places = { ...(await words(2 * rows)), shape: [rows, 2] };
  const table = await tensorOf([rows, stride], logits);
  const value = await emptyTensor([rows, PIECES]);
  const id = await tensorOf([rows, PIECES], new Uint32Array(rows * PIECES).fill(V), 'u32');
  const end = { tokens, rows: places, history, draws, value, id };
  const numbers = await tensorOf([4], optionNumbers(options));
  const calls = options.temperature > 0 ? drawToken(end, table, numbers, V, threads) : takeLargest(end, table, V);
  await runCalls(...Array.from({ length: steps }, () => calls).flat());
  const made = [...(await readWords(history))];
  const lines = Array.from({ length: steps }, (_, step) => made.slice(step * rows, (step + 1) * rows));
  // What the next step starts from.
  expect([...(await readWords(tokens))]).toEqual(lines[steps - 1]);
  expect([...(await readWords(places))]).toEqual(seeds.flatMap(() => [steps, 0]));
  expect([...(await readWords(draws))]).toEqual(seeds.flatMap((seed) => [seed, drawn + steps, steps, 0]));
  return lines;
}
const seedsOf = (rows: number): number[] => Array.from({ length: rows }, (_, i) => (i * 2654435761) >>> 0);

// V below, at and above the threads of a row; columns past V are larger and must not be seen.
test.each([
  [1, 1],
  [2, 3],
  [3, 63],
  [3, 64],
  [70, 65],
  [5, 1000],
])('at temperature 0, %i rows of %i get the lowest id of the largest', async (rows, V) => {
  const stride = Math.ceil(V / 4) * 4 + 4;
  // A few different values only, so that there are equals.
  const logits = randoms(rows * stride, 1).map((x, i) => (i % stride >= V ? 100 : Math.round(4 * x)));
  const expected = Array.from({ length: rows }, (_, row) => {
    const own = [...logits.slice(row * stride, row * stride + V)];
    return own.indexOf(Math.max(...own));
  });
  expect(await draw(logits, [rows, stride, V], GREEDY, seedsOf(rows), 2)).toEqual([expected, expected]);
});

const SETTINGS: readonly Options[] = [
  { temperature: 1, topK: 0, topP: 1 },
  { temperature: 0.7, topK: 40, topP: 1 },
  { temperature: 1.3, topK: 0, topP: 0.9 },
  { temperature: 0.8, topK: 40, topP: 0.95 },
  { temperature: 2, topK: 3, topP: 0.5 },
  { temperature: 1, topK: 1, topP: 1 },
  { temperature: 0.05, topK: 0, topP: 0.99 },
  { temperature: 1, topK: 5000, topP: 1e-6 },
];

describe('drawn tokens are those of the plain rule', () => {
  test.each(SETTINGS)('at %o, on spread logits and on many equals', async (options) => {
    const [rows, V, steps] = [16, 777, 8];
    const stride = 780;
    const spread = randoms(rows * stride, 2).map((x) => 6 * x + 4 * x ** 5);
    const equals = spread.map((x) => Math.round(x));
    const seeds = seedsOf(rows);
    for (const logits of [spread, equals]) {
      const made = await draw(logits, [rows, stride, V], options, seeds, steps, 3);
      const expected = made.map((_, step) =>
        seeds.map((seed, row) => sampleToken(logits.subarray(row * stride, row * stride + V), options, seed, 3 + step)),
      );
      // Sums in f32 may put one token more or less at the edge of what is kept, which few draws would show: at most one of the 128 may differ.
      const other = made.flat().filter((id, i) => id !== expected.flat()[i]);
      expect(other.length).toBeLessThanOrEqual(1);
    }
  });

  test('on one column, on equal logits, and on a large vocabulary', async () => {
    for (const options of SETTINGS) {
      expect(await draw(Float32Array.of(-3, 9, 9, 9), [1, 4, 1], options, [7])).toEqual([[0]]);
      const flat = new Float32Array(2 * 100).fill(-1.5);
      const [made] = await draw(flat, [2, 100, 100], options, [7, 8]);
      expect(made).toEqual([7, 8].map((seed) => sampleToken(flat.subarray(0, 100), options, seed, 0)));
    }
    const V = 49_152;
    const large = randoms(V, 3).map((x) => 8 * x * x * x);
    for (const options of SETTINGS.slice(0, 4)) {
      const made = await draw(large, [1, V, V], options, [11], 2);
      expect(made.flat()).toEqual([0, 1].map((drawn) => sampleToken(large, options, 11, drawn)));
    }
  });
});

test('tokens come with their share of the weight, whatever the neighbours', async () => {
  const own = Float32Array.of(1, 3, 2, 3, -1, 0, 0, 0);
  const options = { temperature: 1, topK: 4, topP: 0.94 };
  const rows = 64;
  const logits = Float32Array.from({ length: 8 * rows }, (_, i) => own[i % 8]);
  const made = await draw(logits, [rows, 8, 5], options, seedsOf(rows), 64);
  const counts = [0, 0, 0, 0, 0];
  for (const id of made.flat()) counts[id]++;
  // Of the four largest, the first three reach 94 % of their weight: e^3, e^3, e^2.
  const weights = [0, Math.exp(3), Math.exp(2), Math.exp(3), 0];
  const total = weights.reduce((a, b) => a + b);
  // 4096 draws: a share's standard deviation is at most 0.008.
  for (const [id, n] of counts.entries()) expect(Math.abs(n / (64 * rows) - weights[id] / total)).toBeLessThan(0.03);
  expect(counts[0] + counts[4]).toBe(0);
  // More threads to a row draw the same.
  expect(await draw(logits.subarray(0, 16), [2, 8, 5], options, seedsOf(2), 8, 0, 64)).toEqual(
    made.slice(0, 8).map((line) => line.slice(0, 2)),
  );
  // A row alone, and a step on its own, draw the same.
  const [, second] = await draw(own, [1, 8, 5], options, [seedsOf(2)[1]], 2);
  expect(second[0]).toBe(made[1][1]);
  const later = await draw(own, [1, 8, 5], options, [seedsOf(2)[1]], 1, 9);
  expect(later[0][0]).toBe(made[9][1]);
});
