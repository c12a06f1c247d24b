// `mlc-chat-config.json`: MLC's copy of config.json in `model_config`, stop tokens, and `conv_template`, its own form of a chat layout.
import * as v from 'valibot';
import { AppError } from '../lib/error.ts';
import { configFromHuggingFace, unsupported, unsupportedArchitecture } from './hf-config.ts';
import { shown } from './json.ts';
import { mlcStops, mlcTemplate, specialTokens } from './mlc-template.ts';
import { property } from './model-files.ts';
import type { ModelConfig } from './types.ts';

/** How MLC holds the matrices: 4 bits in groups of 32 with scales of 16 or 32 bits, or plain floats. */
export const MLC_QUANTIZATIONS = ['q4f16_1', 'q4f32_1', 'q0f16', 'q0f32'] as const;
export type MlcQuantization = (typeof MLC_QUANTIZATIONS)[number];

export interface MlcChatConfig {
  readonly quantization: MlcQuantization;
  readonly config: ModelConfig;
  /** The chat layout as Jinja, made of `conv_template` where that says enough. */
  readonly chatTemplate?: string;
}

const ids = v.nullish(v.union([v.number(), v.array(v.number())]));
const File = v.looseObject({
  model_type: v.string(),
  quantization: v.string(),
  model_config: v.record(v.string(), v.unknown()),
  context_window_size: v.nullish(v.number()),
  sliding_window_size: v.nullish(v.number()),
  bos_token_id: ids,
  eos_token_id: ids,
  pad_token_id: ids,
  conv_template: v.nullish(v.union([v.string(), v.record(v.string(), v.unknown())])),
});
/** Without these a model has no shape. MLC's `model_config` always has them. */
const NEEDED = ['hidden_size', 'intermediate_size', 'num_attention_heads', 'num_hidden_layers', 'vocab_size', 'rms_norm_eps'];

/** `hasHead`: the shards hold an output head of its own. Stops come from generation_config.json, else from `conv_template`.
 *  @throws 'mlc/chat-config', 'mlc/no-stops', 'model/unsupported-architecture', 'model/unsupported-feature', 'model/config' */
export function readMlcChatConfig(
  json: object,
  { generation, tokenizer, hasHead }: { readonly generation: object | undefined; readonly tokenizer: object; readonly hasHead: boolean },
): MlcChatConfig {
  const parsed = v.safeParse(File, json);
  if (!parsed.success) {
    const issue = parsed.issues[0];
    throw badChatConfig(`at ${v.getDotPath(issue) ?? 'the whole file'}, ${issue.message}`);
  }
  const c = parsed.output;
  if (c.model_type !== 'llama') throw unsupportedArchitecture(c.model_type);
  const quantization = MLC_QUANTIZATIONS.find((known) => known === c.quantization);
  if (quantization === undefined)
    throw unsupported(`MLC's quantization ${shown(c.quantization)}`, `${MLC_QUANTIZATIONS.join(', ')} are read here`);
  const lacking = NEEDED.filter((name) => typeof c.model_config[name] !== 'number');
  if (lacking.length > 0) throw badChatConfig(`its model_config lacks ${lacking.join(', ')}`);
  if ((c.sliding_window_size ?? -1) > 0 || Number(c.model_config.sliding_window_size ?? -1) > 0)
    throw unsupported('a sliding window of attention', 'attention to every token before is computed here');
  const context = [c.context_window_size, c.model_config.context_window_size, c.model_config.max_position_embeddings].find(
    (size) => typeof size === 'number' && size > 0,
  );
  if (context === undefined) throw badChatConfig('it has no context_window_size');
  const tied = c.model_config.tie_word_embeddings;
  if (tied === true && hasHead) throw badChatConfig('it says that the output head is the embedding, and the shards hold a head');
  if (tied === false && !hasHead) throw badChatConfig('it says that there is an output head, and the shards hold none');
  const own = { eos_token_id: c.eos_token_id, bos_token_id: c.bos_token_id, pad_token_id: c.pad_token_id };
  const stops = mlcStops(c.conv_template, tokenizer);
  const config = configFromHuggingFace(
    {
      ...c.model_config,
      model_type: 'llama',
      architectures: ['LlamaForCausalLM'],
      max_position_embeddings: context,
      rope_theta: c.model_config.position_embedding_base ?? c.model_config.rope_theta,
      tie_word_embeddings: !hasHead,
      ...own,
    },
    generation ?? (stops.length > 0 ? { eos_token_id: stops } : undefined),
  );
  if (config.stopIds.length === 0)
    throw new AppError('mlc/no-stops', 'Nothing says which token ends an answer of this model.', {
      why: 'There is no generation_config.json, and mlc-chat-config.json names neither eos_token_id nor stop tokens in conv_template.',
      fix: 'Choose the token below. Or get generation_config.json from the page of the model that this one was made of, put it beside the shards, and choose the folder again.',
      facts: { tokens: specialTokens(tokenizer) },
    });
  const chatTemplate = mlcTemplate(c.conv_template, tokenizer);
  return { quantization, config, ...(chatTemplate === undefined ? {} : { chatTemplate }) };
}

export function badChatConfig(what: string): AppError {
  return new AppError('mlc/chat-config', `mlc-chat-config.json cannot be used: ${what}.`, {
    why: 'The file is damaged, was edited, or is of a version that is not read here.',
    fix: 'Get it again from where the shards came from.',
  });
}

/** @throws 'mlc/no-layout' where neither the tokenizer's files nor `conv_template` say how a chat is laid out */
export function noLayout(json: object, tokenizer: object): AppError {
  const name = property(property(json, 'conv_template'), 'name') ?? property(json, 'conv_template');
  return new AppError('mlc/no-layout', 'Nothing says how a chat with this model is laid out.', {
    why: `There is no chat template beside the shards, and conv_template ${typeof name === 'string' ? `only gives the name ${shown(name)}` : 'is absent'}.`,
    fix: 'Choose a layout below. Or get tokenizer_config.json or chat_template.jinja from the page of the model that this one was made of, put it beside the shards, and choose the folder again.',
    facts: { conv_template: typeof name === 'string' ? name : '', tokens: specialTokens(tokenizer) },
  });
}
