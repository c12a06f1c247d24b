import { readFileSync } from 'node:fs';
import path from 'node:path';
import { SPACED_MARKS } from '../../formats/gguf-tokenizer.ts';
import { CHAT_TEMPLATE, type Encode, SPECIALS } from '../../world/layout.ts';
import { type Bpe, encoder } from './bpe.ts';

/** tokenizer.json as the Hugging Face libraries read it. */
export function tokenizerJson({ tokens, merges }: Bpe): object {
  const vocab = Object.fromEntries([...SPECIALS, ...tokens].map((token, id) => [token, id]));
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIALS.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: ' ' },
        ...SPACED_MARKS.map((mark) => ({ type: 'Replace', pattern: { String: mark }, content: `${mark} ` })),
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Digits', individual_digits: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: true },
      ],
    },
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: true },
        ...[...SPACED_MARKS].reverse().map((mark) => ({ type: 'Replace', pattern: { String: `${mark} ` }, content: mark })),
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: merges.map(([left, right]) => `${left} ${right}`),
    },
  };
}

export const TOKENIZER_CONFIG = {
  tokenizer_class: 'PreTrainedTokenizerFast',
  bos_token: '<bos>',
  eos_token: '<end>',
  pad_token: '<pad>',
  add_bos_token: false,
  add_eos_token: false,
  clean_up_tokenization_spaces: false,
  model_max_length: 512,
  chat_template: CHAT_TEMPLATE,
} as const;

/** Micro: 1.19 million parameters. */
export const MICRO_CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 128,
  num_hidden_layers: 5,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 32,
  intermediate_size: 352,
  vocab_size: 2048,
  max_position_embeddings: 512,
  rope_theta: 10000,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  tie_word_embeddings: true,
  attention_bias: false,
  mlp_bias: false,
  bos_token_id: 1,
  eos_token_id: 5,
  pad_token_id: 0,
  torch_dtype: 'float32',
} as const;
export const GENERATION_CONFIG = { bos_token_id: 1, eos_token_id: 5, pad_token_id: 0, do_sample: false } as const;

/** The fast encoder for the tokenizer.json in a folder. */
export function readEncoder(folder: string): Encode {
  const json: { model: { vocab: Record<string, number>; merges: string[] } } = JSON.parse(
    readFileSync(path.join(folder, 'tokenizer.json'), 'utf8'),
  );
  const merges = json.model.merges.map((pair): readonly [string, string] => {
    const [left, right] = pair.split(' ');
    return [left, right];
  });
  return encoder(new Map(Object.entries(json.model.vocab)), merges);
}
