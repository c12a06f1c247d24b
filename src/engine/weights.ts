// A model's weights onto the GPU: checked against the configuration, allocated at once, then streamed in tensor by tensor.
import type { ModelConfig, RawTensor, TensorInfo, WeightType } from '../formats/types.ts';
import { bytes as inWords } from '../lib/bytes.ts';
import { AppError } from '../lib/error.ts';
import type { Matrix } from './calls.ts';
import { encodedBytes, widen } from './convert.ts';
import { aligned, allocating, createTensor, destroyBuffer, elements, type Gpu, MAX_BINDING_BYTES, tensorBytes, upload } from './gpu.ts';
import { linearName, weightShapes } from './linears.ts';
import { ropeFrequencies } from './reference.ts';
import { STORAGE_PLANS, storageOf } from './storage.ts';
import type { HostTensor, Linear, MemoryUse, StoragePlan, Tensor, WeightStorage } from './types.ts';
import { readRows, uploadRows } from './weight-bytes.ts';

export { LINEARS, linearName, linearShape, weightShapes } from './linears.ts';

/** One decoder layer: seven linears (out, in) and two gains (C). */
export interface LayerWeights {
  readonly attentionNorm: Tensor;
  readonly mlpNorm: Tensor;
  readonly linears: Readonly<Record<Linear, Matrix>>;
}
export interface ModelWeights {
  /** (V, C) */
  readonly embedding: Matrix;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: Tensor;
  /** (V, C): the embedding itself where the model is tied. */
  readonly head: Matrix;
  /** Cosine and sine of every position and pair, (context, HS / 2, 2). */
  readonly angles: Tensor;
}

/** @throws 'model/unsupported-size' where vectors of four cannot run over a size */
export function checkConfig(config: ModelConfig): void {
  const { C, NH, NKV, HS, F } = config;
  const odd = Object.entries({ hidden_size: C, intermediate_size: F, head_dim: HS }).find(([, n]) => n % 4 !== 0);
  if (odd !== undefined || NH % NKV !== 0) {
    const what = odd === undefined ? `${NH} attention heads over ${NKV} key-value heads` : `${odd[0]} ${odd[1]}`;
    throw new AppError('model/unsupported-size', `This model has ${what}, which this program cannot run.`, {
      why: 'Sizes must be multiples of 4, and key-value heads must divide the heads.',
      fix: 'Choose another model.',
    });
  }
}

/** Presence and shape of every tensor. @throws 'model/missing-tensor', 'model/shape-mismatch' with names and numbers */
export function checkTensors(config: ModelConfig, infos: readonly Pick<TensorInfo, 'name' | 'shape'>[]): void {
  const found = new Map(infos.map((info) => [info.name, info.shape]));
  for (const [name, shape] of weightShapes(config)) {
    const own = found.get(name);
    if (own === undefined) throw missingTensors([...weightShapes(config).keys()].filter((wanted) => !found.has(wanted)));
    checkShape(name, shape, own);
  }
}
function missingTensors(names: readonly string[]): AppError {
  return new AppError(
    'model/missing-tensor',
    `The weights lack ${names.length} of the tensors that config.json asks for, first ${names[0]}.`,
    {
      why: 'A file of the model is missing, or config.json belongs to another model.',
      fix: 'Choose every file of the model: config.json, tokenizer.json and all .safetensors files.',
      facts: { missing: names.length, first: names[0] },
    },
  );
}
function checkShape(name: string, wanted: readonly number[], found: readonly number[]): void {
  if (wanted.length === found.length && wanted.every((n, i) => n === found[i])) return;
  throw new AppError(
    'model/shape-mismatch',
    `${name} is ${found.join(' × ')} in the weights, and config.json asks for ${wanted.join(' × ')}.`,
    {
      why: 'config.json and the weights belong to different models.',
      fix: 'Choose the files of one model.',
      facts: { name },
    },
  );
}

/** Row ranges of a matrix, each within one binding and a multiple of 64 rows (but for the last), so that a view begins where a binding may. */
export function shardRows([rows, columns]: readonly number[], dtype: Tensor['dtype']): { readonly first: number; readonly rows: number }[] {
  const most = Math.max(64, Math.floor(MAX_BINDING_BYTES / tensorBytes([64, columns], dtype)) * 64);
  const shards: { first: number; rows: number }[] = [];
  for (let first = 0; first < rows; first += most) shards.push({ first, rows: Math.min(most, rows - first) });
  return shards;
}

/** What a file says of its tensors. What it does not list is taken to be f32 there. */
export type TensorTypes = readonly Pick<TensorInfo, 'name' | 'dtype'>[];

/** How a plan holds every tensor of a model. */
export function modelStorage(config: ModelConfig, plan: StoragePlan, types: TensorTypes = []): ReadonlyMap<string, WeightStorage> {
  const dtypes = new Map<string, WeightType>(types.map(({ name, dtype }) => [name, dtype]));
  return new Map(
    [...weightShapes(config)].map(([name, shape]) => [name, storageOf(plan, { name, shape, dtype: dtypes.get(name) ?? 'f32' })]),
  );
}

/** Bytes of a model's weights, before any is allocated. Activations and training come with use: planInference, planTraining. */
export function planModel(config: ModelConfig, plan: StoragePlan, types: TensorTypes = []): MemoryUse {
  const storage = modelStorage(config, plan, types);
  let weights = aligned(config.context * config.HS * 4);
  for (const [name, shape] of weightShapes(config)) {
    const held = storage.get(name)!;
    if (shape.length === 1) weights += aligned(tensorBytes(shape, held));
    else for (const { rows } of shardRows(shape, held)) weights += aligned(tensorBytes([rows, shape[1]], held));
  }
  return { weights, activations: 0, training: 0 };
}

/** What to do where a model does not fit: the plans that take less than `bytes`, and not more than the limit, with what they take. */
function smallerPlans(config: ModelConfig, types: TensorTypes, bytes: number, limit = bytes - 1): string {
  const offers = STORAGE_PLANS.map((plan) => ({ plan, bytes: planModel(config, plan, types).weights }))
    .filter((offer) => offer.bytes < bytes && offer.bytes <= limit)
    .sort((a, b) => b.bytes - a.bytes)
    .map((offer) => `${PLAN_WORDS[offer.plan]} (${inWords(offer.bytes)})`);
  if (offers.length === 0) return 'Close other tabs that use the GPU, or choose a smaller model.';
  return `Hold it ${offers.join(' or ')}, close other tabs that use the GPU, or choose a smaller model.`;
}
const PLAN_WORDS: Readonly<Record<StoragePlan, string>> = {
  'as-is': 'as it is in its file',
  f32: 'as 32-bit floats',
  f16: 'as 16-bit floats',
  '8-bit': 'as 8-bit',
  '4-bit': 'as 4-bit',
};

/** @throws 'gpu/out-of-memory' where the plan is over the limit, with the numbers */
export function checkPlan(what: string, plan: MemoryUse, limit: number | undefined, fix?: string): void {
  const bytes = plan.weights + plan.activations + plan.training;
  if (limit === undefined || bytes <= limit) return;
  throw new AppError('gpu/out-of-memory', `${what} needs ${inWords(bytes)} of GPU memory and ${inWords(limit)} is allowed.`, {
    why: `Weights take ${inWords(plan.weights)}, activations ${inWords(plan.activations)}, training ${inWords(plan.training)}.`,
    fix: fix ?? 'Hold the model in fewer bits, use shorter texts or smaller batches, or choose a smaller model.',
    facts: { bytes, limit },
  });
}

export interface LoadOptions {
  readonly onProgress?: ((bytesDone: number, bytesTotal: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes that the whole engine may take. */
  readonly memoryLimit?: number | undefined;
  /** The tensors as their file lists them, for plans that keep what is there. */
  readonly types?: TensorTypes | undefined;
}
/** Weights and the way back to them by name. */
export interface LoadedWeights {
  readonly model: ModelWeights;
  readonly byName: ReadonlyMap<string, Matrix>;
}

/** Streams tensors onto the GPU, in any order; others than the model's own are passed over.
 *  @throws 'model/missing-tensor', 'model/shape-mismatch', 'model/f16-overflow', 'gpu/out-of-memory'; the signal's reason on abort; nothing is left then */
export async function loadWeights(
  gpu: Gpu,
  config: ModelConfig,
  tensors: AsyncIterable<RawTensor>,
  plan: StoragePlan,
  { onProgress, signal, memoryLimit, types }: LoadOptions = {},
): Promise<LoadedWeights> {
  const shapes = weightShapes(config);
  const storage = modelStorage(config, plan, types);
  const planned = planModel(config, plan, types);
  checkPlan('This model', planned, memoryLimit, smallerPlans(config, types ?? [], planned.weights, memoryLimit));
  const byName = new Map<string, Matrix>();
  const angles: Tensor[] = [];
  try {
    const allocateAll = (): void => {
      for (const [name, shape] of shapes) byName.set(name, allocate(gpu, name, shape, storage.get(name)!));
      angles.push(createTensor(gpu, 'rope angles', 'weights', [config.context, config.HS / 2, 2]));
    };
    await allocating(gpu, 'This model', planned.weights, allocateAll, smallerPlans(config, types ?? [], planned.weights));
    upload(gpu, angles[0], ropeAngles(config));
    const missing = new Set(shapes.keys());
    const total = [...byName.values()].flat().reduce((sum, { tensor }) => sum + shardBytes(tensor), 0);
    let done = 0;
    for await (const raw of tensors) {
      signal?.throwIfAborted();
      const shape = shapes.get(raw.name);
      if (shape === undefined) continue;
      checkShape(raw.name, shape, raw.shape);
      for (const shard of byName.get(raw.name)!) {
        for (const bytes of uploadRows(gpu, raw, shard)) {
          done += bytes;
          onProgress?.(done, total);
        }
      }
      // Uploads wait in the driver's memory: let them be done before the next tensor is read.
      await gpu.device.queue.onSubmittedWorkDone();
      signal?.throwIfAborted();
      missing.delete(raw.name);
    }
    if (missing.size > 0) throw missingTensors([...missing]);
    return { model: assemble(config, byName, angles[0]), byName };
  } catch (error) {
    for (const { tensor } of [...byName.values()].flat()) destroyBuffer(gpu, 'weights', tensor.buffer);
    for (const tensor of angles) destroyBuffer(gpu, 'weights', tensor.buffer);
    throw error;
  }
}

export function disposeWeights(gpu: Gpu, { model, byName }: LoadedWeights): void {
  for (const { tensor } of [...byName.values()].flat()) destroyBuffer(gpu, 'weights', tensor.buffer);
  destroyBuffer(gpu, 'weights', model.angles.buffer);
}

/** Bytes of a shard in its type, without what fills its last blocks up on the GPU. */
function shardBytes({ shape, dtype }: Tensor): number {
  return dtype === 'u32' ? 0 : encodedBytes(dtype, elements(shape));
}

/** A weight as it is held, in the bytes of that type, row after row. @throws 'model/missing-tensor' */
export async function readHeld(
  gpu: Gpu,
  weights: LoadedWeights,
  name: string,
): Promise<readonly { readonly first: number; readonly dtype: Tensor['dtype']; readonly bytes: Uint8Array }[]> {
  const matrix = weights.byName.get(name);
  if (matrix === undefined) throw missingTensors([name]);
  const shards = [];
  for (const { tensor, first } of matrix) shards.push({ first, dtype: tensor.dtype, bytes: await readRows(gpu, tensor) });
  return shards;
}
/** A weight widened to f32 in host memory. @throws 'model/missing-tensor' */
export async function readWeights(
  gpu: Gpu,
  weights: LoadedWeights,
  name: string,
  shape: readonly number[] | undefined,
): Promise<HostTensor> {
  if (shape === undefined) throw missingTensors([name]);
  const data = new Float32Array(elements(shape));
  for (const { first, dtype, bytes } of await readHeld(gpu, weights, name)) {
    if (dtype !== 'u32') data.set(widen(dtype, bytes), shape.length === 1 ? 0 : first * shape[1]);
  }
  return { name, shape, data };
}

/** A model whose tensors of these names are others, as a patch's `weights` parts have it. A tied head follows its embedding. */
export function replaceWeights(config: ModelConfig, weights: LoadedWeights, replaced: ReadonlyMap<string, Matrix>): ModelWeights {
  if (replaced.size === 0) return weights.model;
  return assemble(config, new Map([...weights.byName, ...replaced]), weights.model.angles);
}

function allocate(gpu: Gpu, name: string, shape: readonly number[], storage: WeightStorage): Matrix {
  if (shape.length === 1) return [{ tensor: createTensor(gpu, name, 'weights', shape), first: 0 }];
  return shardRows(shape, storage).map(({ first, rows }) => ({
    tensor: createTensor(gpu, name, 'weights', [rows, shape[1]], storage),
    first,
  }));
}

function assemble(config: ModelConfig, byName: ReadonlyMap<string, Matrix>, angles: Tensor): ModelWeights {
  const matrix = (name: string): Matrix => byName.get(name)!;
  const vector = (name: string): Tensor => matrix(name)[0].tensor;
  const embedding = matrix('model.embed_tokens.weight');
  return {
    embedding,
    layers: Array.from({ length: config.L }, (_, layer) => ({
      attentionNorm: vector(`model.layers.${layer}.input_layernorm.weight`),
      mlpNorm: vector(`model.layers.${layer}.post_attention_layernorm.weight`),
      linears: {
        q_proj: matrix(linearName(layer, 'q_proj')),
        k_proj: matrix(linearName(layer, 'k_proj')),
        v_proj: matrix(linearName(layer, 'v_proj')),
        o_proj: matrix(linearName(layer, 'o_proj')),
        gate_proj: matrix(linearName(layer, 'gate_proj')),
        up_proj: matrix(linearName(layer, 'up_proj')),
        down_proj: matrix(linearName(layer, 'down_proj')),
      },
    })),
    finalNorm: vector('model.norm.weight'),
    head: config.tied ? embedding : matrix('lm_head.weight'),
    angles,
  };
}

/** Cosine and sine of every position and pair, (context, HS / 2, 2), computed in double precision. */
export function ropeAngles({ context, HS, ...config }: ModelConfig): Float32Array {
  const frequencies = ropeFrequencies({ HS, ...config });
  const angles = new Float32Array(context * HS);
  for (let position = 0; position < context; position++) {
    for (let i = 0; i < HS / 2; i++) {
      angles[position * HS + 2 * i] = Math.cos(position * frequencies[i]);
      angles[position * HS + 2 * i + 1] = Math.sin(position * frequencies[i]);
    }
  }
  return angles;
}
