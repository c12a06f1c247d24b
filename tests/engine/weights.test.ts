// Loading weights: what is refused, that nothing is left behind, and that numbers convert as the readers of files convert them.
import { describe, expect, test } from 'vitest';
import { halves, narrow, widen } from '../../src/engine/convert.ts';
import { createEngine } from '../../src/engine/engine.ts';
import { planModel, shardRows, weightShapes } from '../../src/engine/weights.ts';
import { fromF32, toF16Packed, toF32 } from '../../src/formats/quant.ts';
import type { ModelConfig, RawTensor } from '../../src/formats/types.ts';
import { rawTensors, stream } from '../support/engine.ts';
import { fixtureConfig } from '../support/fixtures.ts';
import { testGpu } from '../support/gpu.ts';
import { randoms } from '../support/kernels.ts';

const LLAMA = 'models/llama';
const config = fixtureConfig(LLAMA);
const raw = rawTensors(`${LLAMA}/model.safetensors`);

/** Loads, expects a refusal, and that no memory is held after it. */
async function refused(
  tensors: readonly RawTensor[],
  code: string,
  listed: boolean,
  used: ModelConfig = config,
  memoryLimit?: number,
): Promise<void> {
  const gpu = await testGpu();
  const source = { config: used, tensors: () => stream(tensors) };
  const tensorInfos = tensors.map(({ name, shape, dtype, bytes }) => ({ name, shape, dtype, bytes: bytes.length }));
  const loading = createEngine(gpu, listed ? { ...source, tensorInfos } : source, { storage: 'f32', memoryLimit });
  await expect(loading).rejects.toMatchObject({ code });
  expect(gpu.memory).toEqual({ weights: 0, activations: 0, training: 0 });
}

describe.each([true, false])('with the tensors listed beforehand: %s', (listed) => {
  test('a missing tensor is named', async () => {
    const name = 'model.layers.1.mlp.up_proj.weight';
    await refused(
      raw.filter((tensor) => tensor.name !== name),
      'model/missing-tensor',
      listed,
    );
  });
  test('a tensor of another shape is refused', async () => {
    await refused(raw, 'model/shape-mismatch', listed, { ...config, F: 124 });
  });
  test('sizes that are no multiple of 4 are refused', async () => {
    await refused(raw, 'model/unsupported-size', listed, { ...config, F: 126 });
  });
  test('a model over the limit is refused with the numbers', async () => {
    await refused(raw, 'gpu/out-of-memory', listed, config, planModel(config, 'f32').weights - 1);
  });
});

test('the plan is what loading allocates, in f32 and f16, and progress ends at its total', async () => {
  const gpu = await testGpu();
  for (const storage of ['f32', 'f16'] as const) {
    const seen: [number, number][] = [];
    const onProgress = (done: number, total: number): void => {
      seen.push([done, total]);
    };
    const engine = await createEngine(gpu, { config, tensors: () => stream(raw) }, { storage, onProgress });
    expect(engine.memory).toEqual(planModel(config, storage));
    expect(seen.at(-1)?.[0]).toBe(seen.at(-1)?.[1]);
    expect(seen.every(([done], i) => i === 0 || done >= seen[i - 1][0])).toBe(true);
    engine.dispose();
  }
});

test('an abort while loading rejects with its reason and frees everything', async () => {
  const gpu = await testGpu();
  const controller = new AbortController();
  const onProgress = (done: number, total: number): void => {
    if (done > total / 2) controller.abort();
  };
  const loading = createEngine(gpu, { config, tensors: () => stream(raw) }, { storage: 'f32', onProgress, signal: controller.signal });
  await expect(loading).rejects.toMatchObject({ name: 'AbortError' });
  expect(gpu.memory).toEqual({ weights: 0, activations: 0, training: 0 });
});

test('matrices are cut into shards of at most 128 MiB, of a multiple of 64 rows', () => {
  const shards = shardRows([128256, 2048], 'f32');
  expect(shards.map(({ rows }) => rows)).toEqual([16384, 16384, 16384, 16384, 16384, 16384, 16384, 13568]);
  expect(shards.map(({ first }) => first)).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((i) => i * 16384));
  expect(shardRows([288, 64], 'f16')).toEqual([{ first: 0, rows: 288 }]);
});

test('the shapes of a model are those of its file', () => {
  expect(new Map([...weightShapes(config)].sort())).toEqual(new Map(raw.map(({ name, shape }) => [name, shape] as const).sort()));
});

test('every file type widens and narrows to the bits that the readers of files give', () => {
  const values = randoms(4096, 1).map((x, i) => x * 2 ** ((i % 40) - 30));
  for (const dtype of ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1'] as const) {
    // One byte in front, so that the bytes begin at no multiple of anything.
    const encoded = fromF32(values, dtype);
    const bytes = new Uint8Array(encoded.length + 1);
    bytes.set(encoded, 1);
    expect(widen(dtype, bytes.subarray(1))).toEqual(toF32(encoded.slice(), dtype, values.length));
    expect(new Uint32Array(narrow(widen(dtype, bytes.subarray(1))).buffer)).toEqual(toF16Packed(encoded.slice(), dtype, values.length));
  }
});
test('all 65 536 halves survive widening and narrowing, and what f16 cannot hold is refused', () => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((bits) => (bits & 0x7c00) !== 0x7c00);
  expect(narrow(halves(all))).toEqual(all);
  expect(() => narrow(Float32Array.of(1, 70000))).toThrow(expect.objectContaining({ code: 'model/f16-overflow' }));
});
