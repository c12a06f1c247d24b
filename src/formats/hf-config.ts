// config.json and generation_config.json of a Hugging Face model, for the Llama family and nothing else: what this engine does not compute is
// named and refused, never approximated.
import * as v from 'valibot';
import { AppError } from '../lib/error.ts';
import { shown } from './json.ts';
import type { Llama3RopeScaling, ModelConfig } from './types.ts';

const size = (max: number) => v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(max));
const tokenId = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(2 ** 31));
const tokenIds = v.nullish(v.union([tokenId, v.array(tokenId)]));
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));
const anyObject = v.record(v.string(), v.unknown());

const ConfigFile = v.looseObject({
  hidden_size: size(65_536),
  intermediate_size: size(1_048_576),
  num_hidden_layers: size(1_024),
  num_attention_heads: size(4_096),
  num_key_value_heads: v.nullish(size(4_096)),
  head_dim: v.nullish(size(4_096)),
  vocab_size: size(4_194_304),
  max_position_embeddings: v.optional(size(2 ** 31), 2048),
  rms_norm_eps: v.optional(positive, 1e-6),
  rope_theta: v.nullish(positive),
  rope_scaling: v.nullish(anyObject),
  rope_parameters: v.nullish(anyObject),
  tie_word_embeddings: v.nullish(v.boolean()),
  hidden_act: v.optional(v.string(), 'silu'),
  attention_bias: v.nullish(v.boolean()),
  mlp_bias: v.nullish(v.boolean()),
  partial_rotary_factor: v.nullish(v.number()),
  rope_interleaved: v.nullish(v.boolean()),
  quantization_config: v.nullish(anyObject),
  bos_token_id: tokenIds,
  eos_token_id: tokenIds,
  pad_token_id: tokenIds,
});
const GenerationFile = v.looseObject({ eos_token_id: tokenIds });

const Llama3 = v.looseObject({
  factor: positive,
  low_freq_factor: positive,
  high_freq_factor: positive,
  original_max_position_embeddings: size(2 ** 31),
});

/** @throws 'model/unsupported-architecture', 'model/unsupported-feature', 'model/config' */
export function configFromHuggingFace(config: unknown, generation: unknown): ModelConfig {
  refuseOtherArchitectures(config);
  const c = check(ConfigFile, config, 'config.json');
  const g = generation === undefined ? {} : check(GenerationFile, generation, 'generation_config.json');

  if (c.hidden_act !== 'silu') throw unsupported(`hidden_act ${shown(c.hidden_act)}`, 'silu is computed here');
  if (c.attention_bias) throw unsupported('attention_bias true', 'linears without bias are computed here');
  if (c.mlp_bias) throw unsupported('mlp_bias true', 'linears without bias are computed here');
  if (c.rope_interleaved) throw unsupported('rope_interleaved true', 'half rotation is computed here');
  const rope = c.rope_parameters ?? c.rope_scaling ?? {};
  const partial = c.partial_rotary_factor ?? rope.partial_rotary_factor ?? 1;
  if (partial !== 1) throw unsupported(`partial_rotary_factor ${String(partial)}`, 'only the whole head is rotated here');
  if (c.quantization_config) {
    const method = c.quantization_config.quant_method;
    throw unsupported(
      `quantized weights (${typeof method === 'string' ? method : 'quantization_config'})`,
      'safetensors in F32, F16 and BF16 are read here',
    );
  }

  const NH = c.num_attention_heads;
  const NKV = c.num_key_value_heads ?? NH;
  const HS = c.head_dim ?? c.hidden_size / NH;
  if (!Number.isInteger(HS)) throw badConfig(`hidden_size ${c.hidden_size} is not a multiple of num_attention_heads ${NH}`);
  if (HS % 2 !== 0) throw badConfig(`the head size ${HS} is odd, so it cannot be rotated`);
  if (NH % NKV !== 0) throw badConfig(`num_attention_heads ${NH} is not a multiple of num_key_value_heads ${NKV}`);
  const theta = c.rope_theta ?? rope.rope_theta ?? 10_000;
  if (typeof theta !== 'number' || !(theta > 0)) throw badConfig('rope_theta is not a positive number');
  const ropeScaling = readRopeScaling(rope);
  const bosId = list(c.bos_token_id)[0];
  const padId = list(c.pad_token_id)[0];
  const stopIds = [...new Set([...list(g.eos_token_id), ...list(c.eos_token_id)])];
  for (const id of stopIds) if (id >= c.vocab_size) throw badConfig(`the stop token ${id} is outside of the vocabulary of ${c.vocab_size}`);
  return {
    architecture: 'llama',
    C: c.hidden_size,
    L: c.num_hidden_layers,
    NH,
    NKV,
    HS,
    F: c.intermediate_size,
    V: c.vocab_size,
    context: c.max_position_embeddings,
    normEps: c.rms_norm_eps,
    ropeTheta: theta,
    ...(ropeScaling === undefined ? {} : { ropeScaling }),
    tied: c.tie_word_embeddings ?? false,
    ...(bosId === undefined ? {} : { bosId }),
    stopIds,
    ...(padId === undefined || padId >= c.vocab_size ? {} : { padId }),
  };
}

function list(ids: number | readonly number[] | null | undefined): readonly number[] {
  return ids === null || ids === undefined ? [] : typeof ids === 'number' ? [ids] : ids;
}

function refuseOtherArchitectures(config: unknown): void {
  const names = v.safeParse(v.looseObject({ model_type: v.optional(v.string()), architectures: v.nullish(v.array(v.string())) }), config);
  if (!names.success) throw badConfig('it has no model_type');
  const { model_type, architectures } = names.output;
  const found = architectures?.[0] ?? model_type;
  if (found === undefined) throw badConfig('it has neither model_type nor architectures');
  if ((model_type ?? 'llama') !== 'llama' || !(architectures ?? ['LlamaForCausalLM']).includes('LlamaForCausalLM'))
    throw unsupportedArchitecture(model_type !== undefined && model_type !== 'llama' ? (architectures?.[0] ?? model_type) : found);
}

/** The error for a model of another family, shared with GGUF. */
export function unsupportedArchitecture(name: string): AppError {
  return new AppError('model/unsupported-architecture', `This model's architecture is ${shown(name)}. Only the Llama family runs here.`, {
    why: 'Other architectures compute other things; running one as a Llama would give wrong words without a warning.',
    fix: 'Choose a model whose config.json says "LlamaForCausalLM", for example SmolLM2-135M-Instruct.',
    facts: { architecture: name },
  });
}

/** The error for a Llama with a part that is not computed here, shared with GGUF. */
export function unsupported(what: string, instead: string): AppError {
  return new AppError('model/unsupported-feature', `This model needs ${what}, which is not supported here.`, {
    why: `Of the Llama family, ${instead}.`,
    fix: 'Choose another model. Nothing was loaded.',
    facts: { feature: what },
  });
}

function badConfig(what: string): AppError {
  return new AppError('model/config', `config.json does not describe a model: ${what}.`, {
    why: 'The file is damaged, was edited, or is the configuration of something else.',
    fix: "Choose the config.json from the model's own folder.",
  });
}

function readRopeScaling(rope: Readonly<Record<string, unknown>>): Llama3RopeScaling | undefined {
  const kind = rope.rope_type ?? rope.type ?? 'default';
  if (kind === 'default') return undefined;
  if (kind !== 'llama3')
    throw unsupported(`rope scaling of type ${shown(String(kind))}`, 'the types "default" and "llama3" are computed here');
  const r = check(Llama3, rope, 'rope_scaling of config.json');
  if (r.low_freq_factor >= r.high_freq_factor) throw badConfig('low_freq_factor of rope_scaling is not below high_freq_factor');
  return {
    factor: r.factor,
    lowFreqFactor: r.low_freq_factor,
    highFreqFactor: r.high_freq_factor,
    originalContext: r.original_max_position_embeddings,
  };
}

function check<S extends v.GenericSchema>(schema: S, value: unknown, file: string): v.InferOutput<S> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = v.getDotPath(issue) ?? 'the whole file';
  throw new AppError('model/config', `${file} cannot be used: at ${path}, ${issue.message}`, {
    why: 'The file is damaged, was edited, or is the configuration of something else.',
    fix: "Choose the file from the model's own folder.",
    facts: { file, path },
  });
}
