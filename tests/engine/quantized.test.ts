// Quantized bases: blocks kept bit for bit, what each plan makes of a file, and the numbers that come of it: logits, gradients and memory.
import { afterAll, describe, expect, test } from 'vitest';
import { createEngine } from '../../src/engine/engine.ts';
import { createTensor } from '../../src/engine/gpu.ts';
import { type ReferencePart, referenceModel } from '../../src/engine/reference-model.ts';
import { STORAGE_PLANS, storageOf } from '../../src/engine/storage.ts';
import { type AdamW, type Engine, greedy, type HostPart, type StoragePlan } from '../../src/engine/types.ts';
import { readRows, uploadRows } from '../../src/engine/weight-bytes.ts';
import { disposeWeights, loadWeights, modelStorage, planModel, readHeld, weightShapes } from '../../src/engine/weights.ts';
import { openGguf } from '../../src/formats/gguf-source.ts';
import { openMlc } from '../../src/formats/mlc-source.ts';
import { fromF32, toF32 } from '../../src/formats/quant.ts';
import type { ModelConfig, ModelSource, WeightType } from '../../src/formats/types.ts';
import { rawTensors, stream, testEngine } from '../support/engine.ts';
import { fixtureSource, fixtureSources } from '../support/files.ts';
import { fixtureConfig, fixtureTensors, worstDifference } from '../support/fixtures.ts';
import { testGpu } from '../support/gpu.ts';
import { randoms } from '../support/kernels.ts';
import { fixtureBatch, loraParts, totalNorm, wholeModel } from '../support/training.ts';

/** The base tolerance of fixtures/README.md for logits. */
const LOGITS = 2e-4;
const OPTIONS: AdamW = { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, clipNorm: 0 };
const GGUF = ['q8_0', 'q4_0', 'q4_1'] as const;
const MLC = ['q4f16_1', 'q4f32_1'] as const;
const gguf = (type: string): Promise<ModelSource> => openGguf(fixtureSource(`quant/llama/gguf_${type}/model.gguf`));
const mlc = (type: string): Promise<ModelSource> => openMlc(fixtureSources(`quant/llama/mlc_${type}`));
const FILES = [...GGUF.map((type) => ['gguf', type, gguf] as const), ...MLC.map((type) => ['mlc', type, mlc] as const)];

/** Every weight as the engine holds it, widened: what the reference is given. */
async function dequantized(engine: Engine): Promise<Map<string, { shape: readonly number[]; data: Float64Array }>> {
  const weights = new Map<string, { shape: readonly number[]; data: Float64Array }>();
  for (const [name, shape] of weightShapes(engine.config)) {
    weights.set(name, { shape, data: Float64Array.from((await engine.readWeights(name)).data) });
  }
  return weights;
}
async function collect(ids: AsyncIterable<number>): Promise<number[]> {
  const all: number[] = [];
  for await (const id of ids) all.push(id);
  return all;
}
/** Gradients on the GPU and by the reference network on the dequantized weights agree to a share of their norm. */
async function compareGradients(engine: Engine, parts: readonly HostPart[]): Promise<void> {
  const { batch, count } = fixtureBatch(fixtureTensors('train/llama/batches.safetensors'), '.0');
  const reference = referenceModel(engine.config, await dequantized(engine));
  const truth = reference.lossAndGradients(batch, parts as readonly ReferencePart[], count);
  const patch = engine.createPatch(parts, { trainable: true });
  engine.accumulate(batch, patch, count);
  const got = await engine.gradients(patch);
  const { loss } = await engine.update(patch, OPTIONS);
  engine.disposePatch(patch);
  expect(Math.abs(loss - truth.loss)).toBeLessThanOrEqual(1e-5 * truth.loss);
  const norm = totalNorm(truth.gradients.values());
  expect(norm).toBeGreaterThan(0.01);
  for (const [name, gradient] of truth.gradients) {
    expect(worstDifference(got.get(name)!, gradient), name).toBeLessThanOrEqual(1e-5 * norm);
  }
}
const lora = (): HostPart[] => loraParts('train/llama/lora_scheduled/init.safetensors', (_, rank) => 8 / rank);

describe.each(FILES)('a model in %s of %s held as it is', (format, type, source) => {
  let engine: Engine | undefined;
  const open = async (): Promise<Engine> => {
    engine ??= await createEngine(await testGpu(), await source(type), { storage: 'as-is' });
    return engine;
  };
  afterAll(() => engine?.dispose());

  test('takes what was planned, and gives every block back bit for bit', async () => {
    const gpu = await testGpu();
    const model = await source(type);
    const { config, tensorInfos } = model;
    const plan = planModel(config, 'as-is', tensorInfos);
    const before = gpu.memory.weights;
    const weights = await loadWeights(gpu, config, model.tensors(), 'as-is', { types: tensorInfos });
    expect(gpu.memory.weights - before).toBe(plan.weights);
    let blocks = 0;
    for await (const { name, shape, dtype, bytes } of model.tensors()) {
      const [held, ...more] = await readHeld(gpu, weights, name);
      expect(more).toEqual([]);
      // Gains are f32 on the GPU, whatever a file has.
      const numbers = shape.reduce((product, dim) => product * dim, 1);
      expect(held.dtype).toBe(shape.length === 1 ? 'f32' : dtype);
      const expected = shape.length === 1 ? new Uint8Array(toF32(bytes, dtype, numbers).slice().buffer) : bytes;
      expect(Buffer.compare(held.bytes, expected), name).toBe(0);
      if (dtype === type) blocks++;
    }
    expect(blocks).toBe(15); // 7 linears of 2 layers, and the embedding
    disposeWeights(gpu, weights);
    expect(gpu.memory.weights).toBe(before);
  });

  test('has the logits of the dequantized weights, in batches, alone and while generating', async () => {
    const own = await open();
    const truth = fixtureTensors(`quant/llama/${format}_${type}/expected.safetensors`);
    const { shape, data } = truth.get('input_ids')!;
    const tokens = Uint32Array.from(data);
    const [B, T] = shape.length === 1 ? [1, shape[0]] : [shape[0], shape[1]];
    const logits = await own.logits(tokens, [B, T]);
    expect(worstDifference(logits, truth.get('logits')!.data)).toBeLessThan(LOGITS);
    const prompt = tokens.slice(0, T);
    const reference = referenceModel(own.config, await dequantized(own));
    const made = await collect(own.generate(prompt, greedy(12, [])));
    expect(made).toEqual([...reference.greedy(prompt, 12, [])]);
    for await (const { tokens: row } of own.generateMany([prompt, prompt.slice(0, 5)], greedy(12, []))) {
      if (row[0] === made[0]) expect([...row]).toEqual(made);
    }
    const scores = await own.score(prompt, [1, T]);
    expect(worstDifference(scores, reference.score(prompt, [1, T]))).toBeLessThan(1e-4);
  });

  test('carries gradients of LoRA as the dequantized weights do', async () => compareGradients(await open(), lora()));

  test('is where full fine-tuning starts: the same logits, and gradients through it', async () => {
    const own = await open();
    const names = ['model.layers.1.mlp.down_proj.weight', 'model.layers.0.self_attn.q_proj.weight', 'model.embed_tokens.weight'];
    const parts = await Promise.all(
      names.map(async (name): Promise<HostPart> => ({ kind: 'weights', name, values: await own.readWeights(name) })),
    );
    const patch = own.createPatch(parts, { trainable: false });
    const tokens = Uint32Array.from({ length: 24 }, (_, i) => (i * 37) % own.config.V);
    expect(worstDifference(await own.logits(tokens, [1, 24], patch), await own.logits(tokens, [1, 24]))).toBeLessThan(1e-5);
    own.disposePatch(patch);
    await compareGradients(own, parts);
  });
});

describe.each([
  ['models/llama', '8-bit'],
  ['models/llama', '4-bit'],
  ['models/llama3_untied', '4-bit'],
  ['models/llama_bf16_sharded', 'as-is'],
] as const)('%s held as %s', (folder, plan) => {
  test('is what the reader of files would quantize, in the memory planned, with the gradients of that', async () => {
    const source = folder === 'models/llama_bf16_sharded' ? await sharded() : plainSource(folder);
    const gpu = await testGpu();
    const before = gpu.memory.weights;
    const engine = await createEngine(gpu, source, { storage: plan });
    expect(gpu.memory.weights - before).toBe(planModel(source.config, plan, source.tensorInfos).weights);
    expect(engine.storage).toBe(plan);
    const storage = modelStorage(source.config, plan, source.tensorInfos);
    for await (const { name, shape, dtype, bytes } of source.tensors()) {
      const n = shape.reduce((a, b) => a * b, 1);
      const type = storage.get(name)!;
      const values = toF32(bytes.slice(), dtype, n);
      expect((await engine.readWeights(name)).data, name).toEqual(shape.length === 1 ? values : toF32(fromF32(values, type), type, n));
    }
    await compareGradients(engine, lora());
    if (!source.config.tied) await compareGradients(engine, wholeModel(`${folder}/model.safetensors`).slice(0, 3));
    engine.dispose();
    expect(gpu.memory.weights).toBe(before);
  });
});

function plainSource(folder: string) {
  const raw = rawTensors(`${folder}/model.safetensors`);
  return { config: fixtureConfig(folder), tensorInfos: raw.map((t) => ({ ...t, bytes: t.bytes.length })), tensors: () => stream(raw) };
}
/** Its tensors by name, from both files. */
async function sharded() {
  const raw = [1, 2].flatMap((part) => rawTensors(`models/llama_bf16_sharded/model-0000${part}-of-00002.safetensors`));
  const config: ModelConfig = fixtureConfig('models/llama_bf16_sharded');
  return { config, tensorInfos: raw.map((t) => ({ ...t, bytes: t.bytes.length })), tensors: () => stream(raw) };
}

test('a plan says how each tensor is held', () => {
  const linear = (dtype: WeightType, columns = 64) => ({ name: 'model.layers.0.mlp.up_proj.weight', shape: [8, columns], dtype });
  const embedding = (dtype: WeightType) => ({ name: 'model.embed_tokens.weight', shape: [8, 64], dtype });
  const held = (tensor: Parameters<typeof storageOf>[1]): string[] => STORAGE_PLANS.map((plan) => storageOf(plan, tensor));
  expect(STORAGE_PLANS).toEqual(['as-is', 'f32', 'f16', '8-bit', '4-bit']);
  expect(held(linear('bf16'))).toEqual(['bf16', 'f32', 'f16', 'q8_0', 'q4_1']);
  expect(held(embedding('bf16'))).toEqual(['bf16', 'f32', 'f16', 'q8_0', 'q8_0']);
  // Rows of 36 are no blocks of 32; other 4 bits are never made of 4 bits; gains stay f32.
  expect(held(linear('f16', 36))).toEqual(['f16', 'f32', 'f16', 'f16', 'f16']);
  expect(held(linear('q4_0'))).toEqual(['q4_0', 'f32', 'f16', 'q8_0', 'q4_0']);
  expect(held(embedding('q4_1'))).toEqual(['q4_1', 'f32', 'f16', 'q8_0', 'q4_1']);
  expect(held({ name: 'model.norm.weight', shape: [64], dtype: 'f16' })).toEqual(['f32', 'f32', 'f32', 'f32', 'f32']);
});

test.each(GGUF)('shards of %s begin at their own rows, in pieces and with odd counts of blocks', async (type) => {
  const gpu = await testGpu();
  const [rows, columns] = [3000, 1056]; // 33 blocks a row; more than one piece of 2^21 numbers
  const bytes = fromF32(randoms(rows * columns, 9), type);
  const raw = { name: 'test', shape: [rows, columns], dtype: type, bytes };
  const row = bytes.length / rows;
  for (const [first, count] of [
    [0, 2944],
    [2944, 55], // an odd count of rows, of blocks and of scales
  ]) {
    const tensor = createTensor(gpu, 'test', 'activations', [count, columns], type);
    let written = 0;
    for (const n of uploadRows(gpu, raw, { tensor, first })) written += n;
    expect(written).toBe(count * row);
    expect(Buffer.compare(await readRows(gpu, tensor), bytes.subarray(first * row, (first + count) * row))).toBe(0);
    tensor.buffer.destroy();
  }
});

test('a model that fits only in fewer bits is refused with the plans that fit and what they take', async () => {
  const source = plainSource('models/llama');
  const bytes = (plan: StoragePlan): number => planModel(source.config, plan, source.tensorInfos).weights;
  expect(bytes('8-bit')).toBeLessThan(bytes('f16'));
  expect(bytes('4-bit')).toBeLessThan(bytes('8-bit'));
  const gpu = await testGpu();
  const loading = createEngine(gpu, source, { storage: 'f32', memoryLimit: bytes('8-bit') });
  await expect(loading).rejects.toMatchObject({
    code: 'gpu/out-of-memory',
    fix: expect.stringMatching(/^Hold it as 8-bit \(\d+ kB\) or as 4-bit \(\d+ kB\)/),
  });
  const tight = createEngine(gpu, source, { storage: 'f32', memoryLimit: bytes('4-bit') - 1 });
  await expect(tight).rejects.toMatchObject({ fix: expect.not.stringContaining('Hold it') });
});

test('f16 weights kept as they are lose nothing, and quantizing them says where a scale is beyond f16', async () => {
  const engine = await testEngine('models/llama_f16', 'as-is');
  expect(engine.memory.weights).toBe(planModel(engine.config, 'f16').weights);
  engine.dispose();
  const gpu = await testGpu();
  const source = plainSource('models/llama');
  const name = 'model.layers.0.mlp.up_proj.weight';
  const huge = rawTensors('models/llama/model.safetensors').map((raw) =>
    raw.name === name ? { ...raw, bytes: new Uint8Array(new Float32Array(raw.bytes.length / 4).fill(1e7).buffer) } : raw,
  );
  const loading = createEngine(gpu, { ...source, tensors: () => stream(huge) }, { storage: '8-bit' });
  await expect(loading).rejects.toMatchObject({ code: 'model/f16-overflow' });
  expect(gpu.memory.weights).toBe(0);
});
