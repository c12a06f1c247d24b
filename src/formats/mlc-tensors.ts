// Which tensors MLC keeps a Llama in: q, k, v and gate, up are fused by rows; a 4-bit matrix is `q_weight` and `q_scale`. mlc-llm, model/llama/llama_model.py.
import { AppError } from '../lib/error.ts';
import { shown } from './json.ts';
import { type ExpectedTensor, expectedTensors, linearShape } from './llama-tensors.ts';
import type { MlcQuantization } from './mlc-config.ts';
import type { ModelConfig } from './types.ts';

/** Weights a group along a row. */
export const GROUP = 32;

/** Where a tensor of Hugging Face is: rows from `first` of a matrix of `rows`, or the whole of it. */
export interface MlcPlace {
  /** Without `.weight`: `model.layers.0.self_attn.qkv_proj`. */
  readonly module: string;
  readonly first: number;
  readonly rows: number;
}

export function mlcPlace(config: ModelConfig, { name, shape }: Pick<ExpectedTensor, 'name' | 'shape'>): MlcPlace {
  const module = name.slice(0, -'.weight'.length);
  const linear = module.slice(module.lastIndexOf('.') + 1);
  const [q] = linearShape(config, 'q_proj');
  const [kv] = linearShape(config, 'k_proj');
  const fused = (other: string, first: number, rows: number): MlcPlace => ({
    module: module.slice(0, -linear.length) + other,
    first,
    rows,
  });
  if (linear === 'q_proj') return fused('qkv_proj', 0, q + 2 * kv);
  if (linear === 'k_proj') return fused('qkv_proj', q, q + 2 * kv);
  if (linear === 'v_proj') return fused('qkv_proj', q + kv, q + 2 * kv);
  if (linear === 'gate_proj') return fused('gate_up_proj', 0, 2 * config.F);
  if (linear === 'up_proj') return fused('gate_up_proj', config.F, 2 * config.F);
  return { module, first: 0, rows: shape[0] };
}

/** A tensor as the shards should have it. */
export interface MlcExpected extends ExpectedTensor {
  /** "uint32", "float16", "float32". */
  readonly dtype: string;
}

/** Every tensor of a model in MLC's layout, each once, in MLC's order: embedding, layer by layer, norm, head. Norms are never quantized. */
export function mlcTensors(config: ModelConfig, quantization: MlcQuantization): readonly MlcExpected[] {
  const float = quantization.includes('f16') ? 'float16' : 'float32';
  const list: MlcExpected[] = [];
  const seen = new Set<string>();
  const put = (name: string, shape: readonly number[], dtype: string): unknown => list.push({ name, shape, dtype, gguf: '', regroup: 0 });
  for (const module of modules(config)) {
    if (seen.has(module.name)) continue;
    seen.add(module.name);
    const { name, shape } = module;
    if (shape.length === 1 || !quantization.startsWith('q4')) put(`${name}.weight`, shape, float);
    else {
      const groups = Math.ceil(shape[1] / GROUP);
      put(`${name}.q_weight`, [shape[0], (groups * GROUP) / 8], 'uint32');
      put(`${name}.q_scale`, [shape[0], groups], float);
    }
  }
  return list;
}

/** MLC's modules in MLC's order: within a layer the matrices first, then both norms. */
export function modules(config: ModelConfig): readonly { readonly name: string; readonly shape: readonly number[] }[] {
  const found = new Map<string, readonly number[]>();
  const norms: [string, readonly number[]][] = [];
  let layer = '';
  const flush = (): void => {
    for (const [name, shape] of norms.splice(0)) found.set(name, shape);
  };
  for (const tensor of expectedTensors(config)) {
    const { module, rows } = mlcPlace(config, tensor);
    const own = /^model\.layers\.\d+/.exec(module)?.[0] ?? '';
    if (own !== layer) flush();
    layer = own;
    if (tensor.shape.length === 1) norms.push([module, tensor.shape]);
    else found.set(module, [rows, tensor.shape[1]]);
  }
  flush();
  return [...found].map(([name, shape]) => ({ name, shape }));
}

/** @throws 'mlc/tensor-type' */
export function checkType({ name, dtype }: MlcExpected, found: string, quantization: MlcQuantization): void {
  if (found === dtype) return;
  throw new AppError('mlc/tensor-type', `The tensor ${shown(name)} is ${found}; ${quantization} asks for ${dtype}.`, {
    why: 'mlc-chat-config.json and the shards are not of the same conversion.',
    fix: 'Choose the files of one folder.',
    facts: { tensor: name, dtype: found, expected: dtype },
  });
}
