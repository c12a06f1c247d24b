// A model in MLC's layout for the tests, packed from safetensors as q0f32 (fused projections, plain float32).
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { readSafetensors, tensorFloats, tensorNumbers } from '../../src/formats/safetensors.ts';
import type { Packed } from './page/main.ts';

const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64');
export const library = (name: string): string => base64(readFileSync(path.resolve(import.meta.dirname, `libraries/${name}.wasm.gz`)));

function chatConfig(config: { readonly vocab_size: number; readonly max_position_embeddings: number }): string {
  return JSON.stringify({
    model_type: 'llama',
    vocab_size: config.vocab_size,
    context_window_size: config.max_position_embeddings,
    sliding_window_size: -1,
    attention_sink_size: -1,
    temperature: 0.7,
    top_p: 0.95,
    repetition_penalty: 1.3,
    tokenizer_files: ['tokenizer.json'],
    tokenizer_info: { token_postproc_method: 'byte_level', prepend_space_in_encode: false, strip_space_in_decode: false },
    conv_template: {
      system_template: '{system_message}',
      system_message: '',
      roles: { user: 'user', assistant: 'assistant' },
      seps: ['\n'],
      stop_str: [],
      stop_token_ids: [],
    },
  });
}

/** `folder` has config.json, tokenizer.json and model.safetensors. */
export function packed(folder: string, libraryName: string): Packed {
  const config = JSON.parse(readFileSync(path.join(folder, 'config.json'), 'utf8'));
  const { tensors } = readSafetensors(readFileSync(path.join(folder, 'model.safetensors')));
  const rows = (...names: string[]): Float32Array[] =>
    names.map((name) => {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw new Error(`no ${name}`);
      return tensorFloats(tensor);
    });
  const {
    hidden_size: C,
    intermediate_size: F,
    num_hidden_layers: L,
    num_attention_heads: heads,
    num_key_value_heads: kv,
    vocab_size: V,
  } = config;
  const size = config.head_dim ?? C / heads;
  const wanted: { name: string; shape: number[]; parts: Float32Array[] }[] = [
    { name: 'model.embed_tokens.weight', shape: [V, C], parts: rows('model.embed_tokens.weight') },
    { name: 'model.norm.weight', shape: [C], parts: rows('model.norm.weight') },
  ];
  for (let n = 0; n < L; n++) {
    const at = (name: string): string => `model.layers.${n}.${name}.weight`;
    const qkv = rows(at('self_attn.q_proj'), at('self_attn.k_proj'), at('self_attn.v_proj'));
    wanted.push({ name: at('self_attn.qkv_proj'), shape: [(heads + 2 * kv) * size, C], parts: qkv });
    wanted.push({ name: at('self_attn.o_proj'), shape: [C, heads * size], parts: rows(at('self_attn.o_proj')) });
    wanted.push({ name: at('mlp.gate_up_proj'), shape: [2 * F, C], parts: rows(at('mlp.gate_proj'), at('mlp.up_proj')) });
    wanted.push({ name: at('mlp.down_proj'), shape: [C, F], parts: rows(at('mlp.down_proj')) });
    for (const norm of ['input_layernorm', 'post_attention_layernorm']) wanted.push({ name: at(norm), shape: [C], parts: rows(at(norm)) });
  }
  const records = [];
  const bytes: Uint8Array[] = [];
  let byteOffset = 0;
  for (const { name, shape, parts } of wanted) {
    const data = Buffer.concat(parts.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength)));
    records.push({ name, shape, dtype: 'float32', format: 'raw', nbytes: data.length, byteOffset });
    bytes.push(data);
    byteOffset += data.length;
  }
  const index = {
    metadata: { ParamSize: records.length, ParamBytes: byteOffset, BitsPerParam: 32 },
    records: [{ dataPath: 'params_shard_0.bin', format: 'raw-shard', nbytes: byteOffset, records }],
  };
  return {
    id: libraryName,
    chatConfig: base64(chatConfig(config)),
    index: base64(JSON.stringify(index)),
    tokenizer: base64(readFileSync(path.join(folder, 'tokenizer.json'))),
    shards: [{ name: 'params_shard_0.bin', base64: base64(Buffer.concat(bytes)) }],
    libraryGzip: library(libraryName),
  };
}

/** Numbers of a fixture's safetensors, by name. */
export function numbers(file: string, name: string): Float64Array {
  const tensor = readSafetensors(readFileSync(file)).tensors.get(name);
  if (tensor === undefined) throw new Error(`${file} has no ${name}`);
  return tensorNumbers(tensor);
}
const shared = path.resolve(import.meta.dirname, '../../../shared/fixtures');
/** A fixture beside the project, where it is there. */
export const beside = (name: string): string | undefined => (existsSync(path.join(shared, name)) ? path.join(shared, name) : undefined);
