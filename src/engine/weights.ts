// A model's weights onto the GPU: checked against the configuration, allocated at once, then streamed in tensor by tensor.
import type { ModelConfig, RawTensor, TensorInfo } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';
import type { Matrix, Shard } from './calls.ts';
import { BLOCKS, encodedBytes, halves, narrow, widen } from './convert.ts';
import {
  aligned,
  allocating,
  createTensor,
  destroyBuffer,
  download,
  downloadBytes,
  elements,
  type Gpu,
  MAX_BINDING_BYTES,
  tensorBytes,
  upload,
} from './gpu.ts';
import { ropeFrequencies } from './reference.ts';
import type { HostTensor, Linear, MemoryUse, Tensor, WeightStorage } from './types.ts';

export const LINEARS: readonly Linear[] = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

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

/** The Hugging Face name of a linear's weight. */
export function linearName(layer: number, linear: Linear): string {
  return `model.layers.${layer}.${LINEARS.indexOf(linear) < 4 ? 'self_attn' : 'mlp'}.${linear}.weight`;
}
/** Input and output features of each linear. */
export function linearShape({ C, NH, NKV, HS, F }: ModelConfig, linear: Linear): readonly [out: number, input: number] {
  if (linear === 'q_proj') return [NH * HS, C];
  if (linear === 'k_proj' || linear === 'v_proj') return [NKV * HS, C];
  if (linear === 'o_proj') return [C, NH * HS];
  return linear === 'down_proj' ? [C, F] : [F, C];
}

/** Every tensor that the configuration asks for, by Hugging Face name. Gains have one axis and are always held as f32. */
export function weightShapes(config: ModelConfig): ReadonlyMap<string, readonly number[]> {
  const { C, L, V } = config;
  const shapes = new Map<string, readonly number[]>([['model.embed_tokens.weight', [V, C]]]);
  for (let layer = 0; layer < L; layer++) {
    shapes.set(`model.layers.${layer}.input_layernorm.weight`, [C]);
    for (const linear of LINEARS) shapes.set(linearName(layer, linear), linearShape(config, linear));
    shapes.set(`model.layers.${layer}.post_attention_layernorm.weight`, [C]);
  }
  shapes.set('model.norm.weight', [C]);
  if (!config.tied) shapes.set('lm_head.weight', [V, C]);
  return shapes;
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
  const most = Math.max(64, Math.floor(MAX_BINDING_BYTES / tensorBytes([1, columns], dtype) / 64) * 64);
  const shards: { first: number; rows: number }[] = [];
  for (let first = 0; first < rows; first += most) shards.push({ first, rows: Math.min(most, rows - first) });
  return shards;
}

/** Bytes of a model's weights, before any is allocated. Activations and training come with use: planInference, planTraining. */
export function planModel(config: ModelConfig, storage: WeightStorage): MemoryUse {
  let weights = aligned(config.context * config.HS * 4);
  for (const shape of weightShapes(config).values()) {
    if (shape.length === 1) weights += aligned(tensorBytes(shape, 'f32'));
    else for (const { rows } of shardRows(shape, storage)) weights += aligned(tensorBytes([rows, shape[1]], storage));
  }
  return { weights, activations: 0, training: 0 };
}

/** @throws 'gpu/out-of-memory' where the plan is over the limit, with the numbers */
export function checkPlan(what: string, plan: MemoryUse, limit: number | undefined): void {
  const bytes = plan.weights + plan.activations + plan.training;
  if (limit === undefined || bytes <= limit) return;
  throw new AppError(
    'gpu/out-of-memory',
    `${what} needs ${Math.ceil(bytes / 1e6)} MB of GPU memory and ${Math.floor(limit / 1e6)} MB is allowed.`,
    {
      why: `Weights take ${Math.ceil(plan.weights / 1e6)} MB, activations ${Math.ceil(plan.activations / 1e6)} MB, training ${Math.ceil(plan.training / 1e6)} MB.`,
      fix: 'Hold the model as 16-bit floats, use shorter texts or smaller batches, or choose a smaller model.',
      facts: { bytes, limit },
    },
  );
}

export interface LoadOptions {
  readonly onProgress?: ((bytesDone: number, bytesTotal: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes that the whole engine may take. */
  readonly memoryLimit?: number | undefined;
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
  storage: WeightStorage,
  { onProgress, signal, memoryLimit }: LoadOptions = {},
): Promise<LoadedWeights> {
  const shapes = weightShapes(config);
  const plan = planModel(config, storage);
  checkPlan('This model', plan, memoryLimit);
  const byName = new Map<string, Matrix>();
  const angles: Tensor[] = [];
  try {
    await allocating(gpu, 'This model', plan.weights, () => {
      for (const [name, shape] of shapes) byName.set(name, allocate(gpu, name, shape, storage));
      angles.push(createTensor(gpu, 'rope angles', 'weights', [config.context, config.HS / 2, 2]));
    });
    upload(gpu, angles[0], ropeAngles(config));
    const missing = new Set(shapes.keys());
    const total = [...byName.values()].flat().reduce((sum, { tensor }) => sum + tensorBytes(tensor.shape, tensor.dtype), 0);
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

/** A weight widened to f32 in host memory. @throws 'model/missing-tensor' */
export async function readWeights(
  gpu: Gpu,
  weights: LoadedWeights,
  name: string,
  shape: readonly number[] | undefined,
): Promise<HostTensor> {
  const matrix = weights.byName.get(name);
  if (matrix === undefined || shape === undefined) throw missingTensors([name]);
  const data = new Float32Array(elements(shape));
  for (const { tensor, first } of matrix) {
    const at = shape.length === 1 ? 0 : first * shape[1];
    if (tensor.dtype === 'f32') data.set(await download(gpu, tensor), at);
    else data.set(halves(new Uint16Array(await downloadBytes(gpu, tensor.buffer, tensor.offset, tensorBytes(tensor.shape, 'f16')))), at);
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

/** Rows of a shard, converted and written a few megabytes at a time; yields the bytes written. */
function* uploadRows(gpu: Gpu, raw: RawTensor, { tensor, first }: Shard): Iterable<number> {
  const columns = tensor.shape[tensor.shape.length - 1];
  const rows = elements(tensor.shape) / columns;
  const atOnce = Math.max(1, Math.floor(PIECE_NUMBERS / columns));
  if (columns % BLOCKS[raw.dtype].numbers !== 0)
    throw new AppError('model/shape-mismatch', `${raw.name} has rows of ${columns} numbers, and ${raw.dtype} needs multiples of 32.`);
  for (let row = 0; row < rows; row += atOnce) {
    const n = Math.min(atOnce, rows - row) * columns;
    const start = encodedBytes(raw.dtype, (first + row) * columns);
    const bytes = raw.bytes.subarray(start, start + encodedBytes(raw.dtype, n));
    const data = raw.dtype === tensor.dtype ? bytes : tensor.dtype === 'f16' ? narrow(widen(raw.dtype, bytes)) : widen(raw.dtype, bytes);
    upload(gpu, tensor, data, tensorBytes([row, columns], tensor.dtype));
    yield data.byteLength;
  }
}
const PIECE_NUMBERS = 2 ** 21;

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
