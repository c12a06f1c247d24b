// A whole model as one GGUF file, for the model that comes with the site. What it writes, gguf-source.ts reads.
import { AppError } from '../lib/error.ts';
import { regroupRows } from './gguf-source.ts';
import { BUNDLED_PRE, SPACES_KEY, TEMPLATE_KEY } from './gguf-tokenizer.ts';
import type { GgufTensor, GgufValue } from './gguf-types.ts';
import { writeGguf } from './gguf-write.ts';
import { shown } from './json.ts';
import { expectedTensors } from './llama-tensors.ts';
import { fromF32 } from './quant.ts';
import type { ModelConfig } from './types.ts';

export interface ModelParts {
  readonly name: string;
  readonly config: ModelConfig;
  /** Tokens by id, merges as "left right", and which ids are special; byte-level BPE with the bundled model's pre-tokenizer. */
  readonly vocabulary: { readonly tokens: readonly string[]; readonly merges: readonly string[]; readonly special: ReadonlySet<number> };
  readonly chatTemplate: string;
  /** The same layout, with the spaces that this vocabulary wants put in: for programs that read the template and not our keys. */
  readonly spacedTemplate: string;
  /** f32, by Hugging Face name. */
  readonly tensors: ReadonlyMap<string, Float32Array>;
  /** Says where the weights come from: `general.description`. */
  readonly description: string;
}

/** GGUF types for matrices: one scale in 32 weights, half precision, or as they are. Gains of norms are always f32. */
export type MatrixType = 'q8_0' | 'f16' | 'f32';

/** @throws 'model/missing-tensors', 'format/header' where a tensor has another size than the configuration says */
export function writeGgufModel(parts: ModelParts, matrices: MatrixType): Uint8Array {
  const { config } = parts;
  const tensors = expectedTensors(config).map(({ name, gguf, shape, regroup }): GgufTensor => {
    const values = parts.tensors.get(name);
    if (values === undefined) throw new AppError('model/missing-tensors', `There is no tensor ${shown(name)} to write.`);
    const type = shape.length === 1 ? 'f32' : matrices;
    const bytes = fromF32(values, type);
    return { name: gguf, shape, type: type.toUpperCase(), bytes: regroup === 0 ? bytes : regroupRows(bytes, shape[0], regroup, 'to-gguf') };
  });
  return writeGguf(metadataOf(parts, matrices), tensors);
}

/** `general.file_type` as llama.cpp numbers them. */
const FILE_TYPE: Readonly<Record<MatrixType, number>> = { f32: 0, f16: 1, q8_0: 7 };

function metadataOf(
  { name, config, vocabulary, chatTemplate, spacedTemplate, description }: ModelParts,
  matrices: MatrixType,
): Map<string, GgufValue> {
  const u32 = (value: number): GgufValue => ({ type: 'u32', value });
  const text = (value: string): GgufValue => ({ type: 'string', value });
  const id = (key: string, value: number | undefined): [string, GgufValue][] =>
    value === undefined ? [] : [[`tokenizer.ggml.${key}`, u32(value)]];
  return new Map<string, GgufValue>([
    ['general.architecture', text('llama')],
    ['general.name', text(name)],
    ['general.description', text(description)],
    ['general.file_type', u32(FILE_TYPE[matrices])],
    ['llama.context_length', u32(config.context)],
    ['llama.embedding_length', u32(config.C)],
    ['llama.block_count', u32(config.L)],
    ['llama.feed_forward_length', u32(config.F)],
    ['llama.attention.head_count', u32(config.NH)],
    ['llama.attention.head_count_kv', u32(config.NKV)],
    ['llama.attention.key_length', u32(config.HS)],
    ['llama.attention.value_length', u32(config.HS)],
    ['llama.attention.layer_norm_rms_epsilon', { type: 'f32', value: config.normEps }],
    ['llama.rope.dimension_count', u32(config.HS)],
    ['llama.rope.freq_base', { type: 'f32', value: config.ropeTheta }],
    ['llama.vocab_size', u32(config.V)],
    ['tokenizer.ggml.model', text('gpt2')],
    ['tokenizer.ggml.pre', text(BUNDLED_PRE)],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: vocabulary.tokens }],
    // 3 is a control token, 1 an ordinary one.
    [
      'tokenizer.ggml.token_type',
      { type: 'array', of: 'i32', value: vocabulary.tokens.map((_, i) => (vocabulary.special.has(i) ? 3 : 1)) },
    ],
    ['tokenizer.ggml.merges', { type: 'array', of: 'string', value: vocabulary.merges }],
    ...id('bos_token_id', config.bosId),
    ...id('eos_token_id', config.stopIds[0]),
    ...id('padding_token_id', config.padId),
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: false }],
    ['tokenizer.chat_template', text(spacedTemplate)],
    [TEMPLATE_KEY, text(chatTemplate)],
    [SPACES_KEY, { type: 'bool', value: true }],
  ]);
}
