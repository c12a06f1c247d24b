// The first-run measurement: whatever is chosen, the numbers are the same; it is used, named and remembered; it stops when it is told to.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { randomTensors, randomTokens, SHAPES } from '../../src/cli/bench/shapes.ts';
import { type LowRankSite, linearForward } from '../../src/engine/calls.ts';
import { linearBackwardInput } from '../../src/engine/calls-backward.ts';
import { createEngine } from '../../src/engine/engine.ts';
import { STORAGES } from '../../src/engine/gpu.ts';
import { FAMILIES, familiesOf, untuned, useVariants } from '../../src/engine/tuning.ts';
import { type Engine, greedy, type Tuning } from '../../src/engine/types.ts';
import { testGpu } from '../support/gpu.ts';
import { emptyTensor, matrixOf, randoms, readFloats, runCalls, tensorOf } from '../support/kernels.ts';
import { randomAdapter } from '../support/parts.ts';

const { config } = SHAPES.find(({ name }) => name === 'A')!; // the sizes of stories260k
const load = async (tuning?: Tuning): Promise<Engine> =>
  createEngine(await testGpu(), { config, tensors: () => randomTensors(config) }, { storage: 'f32', tuning });

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});
afterAll(async () => {
  engine.dispose();
  useVariants(await testGpu(), untuned(await testGpu()));
});

test.each(STORAGES.flatMap((storage) => (storage === 'f16' ? [3, 8, 11, 16, 70] : [9, 70]).map((M) => [M, storage] as const)))(
  'a linear of %i rows of %s has the same bits in every variant, with a residual and a low-rank part',
  async (M, storage) => {
    const gpu = await testGpu();
    const [K, N, rank] = [storage.startsWith('q') ? 64 : 36, 25, 5];
    const { tensor } = await matrixOf(storage, [N, K], randoms(N * K, 1));
    const [x, residual] = [await tensorOf([M, K], randoms(M * K, 2)), await tensorOf([M, 28], randoms(M * 28, 3))];
    const h = await tensorOf(
      [M, 8],
      randoms(M * 8, 4).map((value, i) => (i % 8 < rank ? value : 0)),
    );
    const [A, B] = [await tensorOf([rank, K], randoms(rank * K, 5)), await tensorOf([N, rank], randoms(N * rank, 6))];
    const site: LowRankSite = { place: 0, rank, A, B, scale: 1, index: 0, hidden: 0 };
    const part = { site, h, scales: await tensorOf([1], Float32Array.of(0.5)) };
    for (const family of FAMILIES) {
      const results: string[] = [];
      for (const { name } of family.variants) {
        useVariants(gpu, { [family.name]: name });
        const [y, z] = [await emptyTensor([M, 28]), await emptyTensor([M, 28])];
        const matrix = [{ tensor, first: 0 }];
        await runCalls(...linearForward(y, x, matrix, residual, part), ...linearForward(z, x, matrix));
        const got = [...(await readFloats(y)), ...(await readFloats(z))].filter((_, i) => i % 28 < N);
        expect(got.every(Number.isFinite)).toBe(true);
        results.push(got.join());
      }
      expect(new Set(results).size).toBe(1);
    }
    useVariants(gpu, untuned(gpu));
  },
);

// Four storages: a kernel takes SwiftShader a second to compile.
const BACK = [...[1, 9, 16, 17, 70].map((M) => [M, 'f32'] as const), [21, 'f16'], [21, 'q8_0'], [21, 'q4_1']] as const;
test.each(BACK)(
  'the gradient of the input of %i rows through %s has the same bits in every variant, written and added, with a part and its dropout',
  async (M, storage) => {
    const gpu = await testGpu();
    const [N, K, rank] = [28, storage.startsWith('q') ? 96 : 76, 5];
    const weights = [{ tensor: (await matrixOf(storage, [N, K], randoms(N * K, 1))).tensor, first: 0 }];
    const dy = { tensor: await tensorOf([M, 36], randoms(M * 36, 2)), column: 8 };
    const before = randoms(M * K, 3);
    const dh = await tensorOf(
      [M, 8],
      randoms(M * 8, 4).map((value, i) => (i % 8 < rank ? value : 0)),
    );
    const [A, B] = [await tensorOf([rank, K], randoms(rank * K, 5)), await tensorOf([N, rank], randoms(N * rank, 6))];
    const site: LowRankSite = { place: 3, rank, A, B, scale: 1, index: 0, hidden: 0 };
    const dropout = { micro: await tensorOf([4], Uint32Array.of(7, 8, 0, 0)), rate: 0.25 };
    const results: string[] = [];
    for (const name of ['8 rows', 'quads of 16']) {
      useVariants(gpu, { 'backward tile': name });
      const ways = [
        linearBackwardInput(await emptyTensor([M, K]), dy, weights, false),
        linearBackwardInput(await tensorOf([M, K], before), dy, weights, true),
        linearBackwardInput(await tensorOf([M, K], before), dy, weights, true, { site, dh }),
        linearBackwardInput(await emptyTensor([M, K]), dy, weights, false, { site, dh, dropout }),
      ];
      await runCalls(...ways.flat());
      const got = await Promise.all(ways.map(async ([{ tensors }]) => [...(await readFloats(tensors[0]!))]));
      expect(got.flat().every(Number.isFinite)).toBe(true);
      results.push(got.flat().join());
    }
    expect(results[1]).toBe(results[0]);
    useVariants(gpu, untuned(gpu));
  },
);

test('a device whose threads cannot ask their neighbours has no quads; one of four lanes begins with them', () => {
  const names = (lanes: number): string[] => familiesOf({ lanes }).flatMap(({ variants }) => variants.map(({ name }) => name));
  expect(names(0).filter((name) => name.startsWith('quads'))).toEqual([]);
  expect(untuned({ lanes: 0 })).toEqual(untuned({ lanes: 32 }));
  expect(names(4).toSorted()).toEqual([...names(32), 'quads'].toSorted()); // attention's own only where four lanes are one register
  expect(untuned({ lanes: 4 })).toMatchObject({ 'tile columns': 'quads of 8', 'backward tile': 'quads of 16' });
});

test('the fastest variants are measured, used, named, and taken over where device and kernels are the same', async () => {
  const prompts = Array.from({ length: 6 }, (_, i) => randomTokens(`prompt ${i}`, 9, config.V));
  const patch = engine.createPatch(
    randomAdapter(config, () => 3, 0.05, 1),
    { trainable: false },
  );
  const answers = async (own: Engine): Promise<string> => {
    const rows: string[] = [];
    for await (const { row, tokens } of own.generateMany(prompts, greedy(6, []), own === engine ? patch : undefined))
      rows[row] = tokens.join();
    return rows.join('\n');
  };
  const before = await answers(engine);
  const [memory, kernels] = [engine.memory, engine.kernels];
  expect(engine.tuning).toBeUndefined();

  // Nobody waits for it: it ends when it is told to, and nothing has changed.
  let asked = 0;
  expect(await engine.tune(() => ++asked > 5)).toBeUndefined();
  expect([engine.tuning, engine.kernels, engine.memory]).toEqual([undefined, kernels, memory]);

  let longest = 0;
  const began = performance.now();
  let last = began;
  const tuning = await engine.tune(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
    return false;
  });
  const took = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`chosen ${JSON.stringify(tuning?.chosen)} in ${took} s, looked at least every ${longest.toFixed(0)} ms`);
  expect(tuning).toBeDefined();
  expect(engine.tuning).toEqual(tuning);
  for (const { name, variants } of FAMILIES) {
    expect(variants.map((variant) => variant.name)).toContain(tuning?.chosen[name]);
    expect(engine.kernels).toContain(`${name} ${tuning?.chosen[name]}`);
  }
  expect(engine.memory).toEqual(memory);
  expect(await answers(engine)).toBe(before);

  // Another variant than the first, as if it had been found the fastest: used from the start.
  const other: Tuning = { ...tuning!, chosen: Object.fromEntries(FAMILIES.map(({ name, variants }) => [name, variants.at(-1)!.name])) };
  const plain = await load();
  const without = await answers(plain);
  plain.dispose();
  const again = await load(other);
  expect(again.tuning).toEqual(other);
  expect(again.kernels).not.toBe(kernels);
  expect(await answers(again)).toBe(without);
  again.dispose();
  for (const stale of [
    { ...other, device: 'another' },
    { ...other, kernels: 'older' },
  ]) {
    const fresh = await load(stale);
    expect(fresh.tuning).toBeUndefined();
    expect(fresh.kernels).toBe(kernels);
    fresh.dispose();
  }
  engine.disposePatch(patch);
});

test('nothing is measured while a patch is trained', async () => {
  const patch = engine.createPatch(
    randomAdapter(config, () => 2, 0.05, 1),
    { trainable: true },
  );
  expect(await engine.tune(() => false)).toBeUndefined();
  engine.disposePatch(patch);
});
