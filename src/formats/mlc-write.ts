// A Llama into MLC's layout, tensor by tensor: shards, their index, mlc-chat-config.json. Pure functions over streams: a tensor comes in, files go out.
//   q0f32    plain floats: the same model
//   q4f32_1  groups of 32 numbers in 4 bits with a scale each: another model than the one it was made of
import { createMD5 } from 'hash-wasm';
import { AppError } from '../lib/error.ts';
import { bytesOf } from './bytes.ts';
import { floatsToBrains } from './half.ts';
import { shown } from './json.ts';
import { expectedTensors } from './llama-tensors.ts';
import { GROUP, mlcPlace, modules } from './mlc-tensors.ts';
import { fromF32, toF32 } from './quant.ts';
import type { ModelConfig, ModelSource, RawTensor } from './types.ts';

export type MlcWritten = 'q0f32' | 'q4f32_1';
export interface MlcWriteOptions {
  readonly quantization: MlcWritten;
  /** How f32 numbers (weights of q0f32, scales and norms of q4f32_1) are stored. MLC's own converter writes bf16; f32 loses nothing and is read as well. */
  readonly floats: 'f32' | 'bf16';
  /** A shard ends before it would grow beyond this; a larger tensor has a shard of its own. */
  readonly shardBytes?: number;
}
export interface MlcFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}
/** What is written of one tensor. */
interface Part {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: 'uint32' | 'float32';
  readonly format: 'raw' | 'f32-to-bf16';
  readonly bytes: Uint8Array;
}
interface TensorEntry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly format: string;
  readonly nbytes: number;
  readonly byteOffset: number;
}
interface ShardEntry {
  readonly dataPath: string;
  readonly format: 'raw-shard';
  readonly nbytes: number;
  readonly records: readonly TensorEntry[];
  readonly md5sum: string;
}

const SHARD_BYTES = 32 * 2 ** 20;

/** Bytes of all shards, before any is made. */
export function mlcBytes(config: ModelConfig, { quantization, floats }: MlcWriteOptions): number {
  const float = floats === 'f32' ? 4 : 2;
  return modules(config).reduce((sum, { shape }) => {
    const [rows, columns] = shape;
    if (shape.length === 1) return sum + rows * float;
    if (quantization === 'q0f32') return sum + rows * columns * float;
    return sum + rows * Math.ceil(columns / GROUP) * (16 + float);
  }, 0);
}

/** The files of a model in MLC's layout, shards first and the index after them, so that a folder with an index is whole. At most one shard and the parts of one
 *  fused matrix are in memory. @throws 'model/missing-tensors', and what `source.tensors()` throws */
export async function* writeMlc(source: Pick<ModelSource, 'config' | 'tensors'>, options: MlcWriteOptions): AsyncIterable<MlcFile> {
  const { config } = source;
  const limit = options.shardBytes ?? SHARD_BYTES;
  const shards: ShardEntry[] = [];
  let parts: Part[] = [];
  let size = 0;
  const flush = async (): Promise<MlcFile> => {
    const bytes = new Uint8Array(size);
    const records: TensorEntry[] = [];
    let at = 0;
    for (const part of parts) {
      bytes.set(part.bytes, at);
      records.push({
        name: part.name,
        shape: part.shape,
        dtype: part.dtype,
        format: part.format,
        nbytes: part.bytes.length,
        byteOffset: at,
      });
      at += part.bytes.length;
    }
    const hash = await createMD5();
    const name = `params_shard_${shards.length}.bin`;
    shards.push({ dataPath: name, format: 'raw-shard', nbytes: size, records, md5sum: hash.init().update(bytes).digest('hex') });
    parts = [];
    size = 0;
    return { name, bytes };
  };
  for await (const { name, shape, values } of inMlcOrder(config, source.tensors())) {
    for (const part of partsOf(name, shape, values, options)) {
      if (size > 0 && size + part.bytes.length > limit) yield await flush();
      parts.push(part);
      size += part.bytes.length;
    }
  }
  if (size > 0) yield await flush();
  const total = shards.reduce((sum, { nbytes }) => sum + nbytes, 0);
  const count = modules(config).reduce((sum, { shape }) => sum + shape.reduce((product, dim) => product * dim, 1), 0);
  const metadata = {
    ParamSize: shards.reduce((sum, { records }) => sum + records.length, 0),
    ParamBytes: total,
    BitsPerParam: (total * 8) / count,
  };
  yield jsonFile('tensor-cache.json', { metadata, records: shards });
}

interface Fused {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}
/** Matrices joined as MLC joins them, in its order whatever order they come in: what comes early waits. */
async function* inMlcOrder(config: ModelConfig, tensors: AsyncIterable<RawTensor>): AsyncIterable<Fused> {
  const order = modules(config);
  const expected = new Map(expectedTensors(config).map((tensor) => [tensor.name, tensor]));
  const filling = new Map<string, { readonly values: Float32Array; left: number }>();
  let next = 0;
  for await (const raw of tensors) {
    const tensor = expected.get(raw.name);
    if (tensor === undefined) continue;
    expected.delete(raw.name);
    const { module, first, rows } = mlcPlace(config, tensor);
    const columns = tensor.shape[1] ?? 1;
    const count = tensor.shape[0] * columns;
    const target = filling.get(module) ?? { values: new Float32Array(rows * columns), left: rows * columns };
    filling.set(module, target);
    target.values.set(toF32(raw.bytes, raw.dtype, count), first * columns);
    target.left -= count;
    for (let ready = filling.get(order[next]?.name ?? ''); ready?.left === 0; ready = filling.get(order[next]?.name ?? '')) {
      const { name, shape } = order[next];
      filling.delete(name);
      next++;
      yield { name, shape, values: ready.values };
    }
  }
  const [missing] = expected.keys();
  if (missing !== undefined)
    throw new AppError('model/missing-tensors', `${expected.size} tensors of this model did not come, first ${shown(missing)}.`, {
      fix: 'Add the model again; its files may be damaged.',
      facts: { missing, count: expected.size },
    });
}

function partsOf(name: string, shape: readonly number[], values: Float32Array, { quantization, floats }: MlcWriteOptions): readonly Part[] {
  const format = floats === 'f32' ? 'raw' : 'f32-to-bf16';
  const float = (part: string, partShape: readonly number[], numbers: Float32Array): Part => ({
    name: `${name}.${part}`,
    shape: partShape,
    dtype: 'float32',
    format,
    bytes: floats === 'f32' ? bytesOf(numbers) : bytesOf(floatsToBrains(numbers)),
  });
  if (shape.length === 1 || quantization === 'q0f32') return [float('weight', shape, values)];
  const [rows, columns] = shape;
  const groups = Math.ceil(columns / GROUP);
  const { codes, scales } = splitGroups(fromF32(padRows(values, rows, columns, groups * GROUP), 'q4f32_1'), rows * groups);
  // An integer tensor is raw whatever its format says; MLC's converter writes one format on every record.
  return [
    { name: `${name}.q_weight`, shape: [rows, (groups * GROUP) / 8], dtype: 'uint32', format, bytes: codes },
    float('q_scale', [rows, groups], scales),
  ];
}

function padRows(values: Float32Array, rows: number, columns: number, padded: number): Float32Array {
  if (columns === padded) return values;
  const out = new Float32Array(rows * padded);
  for (let r = 0; r < rows; r++) out.set(values.subarray(r * columns, (r + 1) * columns), r * padded);
  return out;
}

function splitGroups(blocks: Uint8Array, count: number): { readonly codes: Uint8Array; readonly scales: Float32Array } {
  const codes = new Uint8Array(count * 16);
  const scales = new Float32Array(count);
  const view = new DataView(blocks.buffer, blocks.byteOffset, blocks.byteLength);
  for (let g = 0; g < count; g++) {
    scales[g] = view.getFloat32(g * 20, true);
    codes.set(blocks.subarray(g * 20 + 4, g * 20 + 20), g * 16);
  }
  return { codes, scales };
}

/** mlc-chat-config.json of a model. The layout in it is plain text: this app renders prompts itself, and keeps the chat template in tokenizer_config.json. */
export function mlcChatConfig({ config, tokenizer }: Pick<ModelSource, 'config' | 'tokenizer'>, quantization: MlcWritten): MlcFile {
  const { C, L, NH, NKV, HS, F, V, context, normEps, ropeTheta, ropeScaling, tied, bosId, padId, stopIds } = config;
  if (ropeScaling !== undefined && 'divisors' in ropeScaling)
    throw new AppError('mlc/rope-divisors', 'The rotary scaling of this model is stored as divisors, and MLC takes four numbers.', {
      why: 'A GGUF file keeps one divisor for each frequency instead of the factors that they were made of.',
      fix: 'Add the same model as a Hugging Face folder (safetensors) and convert that.',
    });
  const scaling =
    ropeScaling === undefined
      ? {}
      : {
          rope_scaling: {
            rope_type: 'llama3',
            factor: ropeScaling.factor,
            low_freq_factor: ropeScaling.lowFreqFactor,
            high_freq_factor: ropeScaling.highFreqFactor,
            original_max_position_embeddings: ropeScaling.originalContext,
          },
        };
  const sizes = { context_window_size: context, prefill_chunk_size: Math.min(context, 2048), tensor_parallel_shards: 1 };
  const hasConfig = Object.keys(tokenizer.config).length > 0 || tokenizer.chatTemplate !== undefined;
  return jsonFile('mlc-chat-config.json', {
    version: '0.1.0',
    model_type: 'llama',
    quantization,
    model_config: {
      hidden_size: C,
      intermediate_size: F,
      num_attention_heads: NH,
      num_hidden_layers: L,
      num_key_value_heads: NKV,
      rms_norm_eps: normEps,
      vocab_size: V,
      tie_word_embeddings: tied,
      position_embedding_base: ropeTheta,
      ...scaling,
      head_dim: HS,
      ...sizes,
    },
    vocab_size: V,
    ...sizes,
    sliding_window_size: -1,
    attention_sink_size: -1,
    temperature: 1,
    top_p: 1,
    presence_penalty: 0,
    frequency_penalty: 0,
    repetition_penalty: 1,
    tokenizer_files: ['tokenizer.json', ...(hasConfig ? ['tokenizer_config.json'] : [])],
    conv_template: {
      name: 'LM',
      system_template: '{system_message}',
      system_message: '',
      roles: { user: '', assistant: '' },
      role_templates: { user: '{user_message}', assistant: '{assistant_message}' },
      seps: [''],
      role_content_sep: '',
      role_empty_sep: '',
      stop_str: [],
      stop_token_ids: stopIds,
    },
    ...(padId === undefined ? {} : { pad_token_id: padId }),
    ...(bosId === undefined ? {} : { bos_token_id: bosId }),
    eos_token_id: stopIds,
  });
}

/** The tokenizer's two files, the chat template in the second. */
export function mlcTokenizerFiles({ json, config, chatTemplate }: ModelSource['tokenizer']): readonly MlcFile[] {
  return [
    jsonFile('tokenizer.json', json),
    jsonFile('tokenizer_config.json', { ...config, ...(chatTemplate === undefined ? {} : { chat_template: chatTemplate }) }),
  ];
}

function jsonFile(name: string, value: object): MlcFile {
  return { name, bytes: new TextEncoder().encode(JSON.stringify(value, null, 1)) };
}
