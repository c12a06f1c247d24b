import { AppError } from '../lib/error.ts';
import { shown } from './json.ts';
import type { ModelConfig } from './types.ts';

/** The seven linears of a layer, as Hugging Face names them, with the shape (out, in) of each, and their GGUF names. */
export const LINEARS = [
  { linear: 'q_proj', module: 'self_attn.q_proj', gguf: 'attn_q' },
  { linear: 'k_proj', module: 'self_attn.k_proj', gguf: 'attn_k' },
  { linear: 'v_proj', module: 'self_attn.v_proj', gguf: 'attn_v' },
  { linear: 'o_proj', module: 'self_attn.o_proj', gguf: 'attn_output' },
  { linear: 'gate_proj', module: 'mlp.gate_proj', gguf: 'ffn_gate' },
  { linear: 'up_proj', module: 'mlp.up_proj', gguf: 'ffn_up' },
  { linear: 'down_proj', module: 'mlp.down_proj', gguf: 'ffn_down' },
] as const;
export type LinearName = (typeof LINEARS)[number]['linear'];

/** (out, in) of one linear. */
export function linearShape(config: ModelConfig, linear: LinearName): readonly [out: number, inputs: number] {
  const { C, F, NH, NKV, HS } = config;
  if (linear === 'q_proj') return [NH * HS, C];
  if (linear === 'k_proj' || linear === 'v_proj') return [NKV * HS, C];
  if (linear === 'o_proj') return [C, NH * HS];
  if (linear === 'down_proj') return [C, F];
  return [F, C];
}

/** Heads whose rows GGUF regroups for this linear under architecture `llama`, else 0. */
export function regroupedHeads(config: ModelConfig, linear: LinearName): number {
  return linear === 'q_proj' ? config.NH : linear === 'k_proj' ? config.NKV : 0;
}

export interface LinearSite {
  readonly layer: number;
  readonly linear: (typeof LINEARS)[number];
}

/** Which linear of which layer a module path means: `model.layers.3.self_attn.q_proj`. */
export function siteOfModule(module: string): LinearSite | undefined {
  const match = /^model\.layers\.(\d{1,6})\.(.+)$/.exec(module);
  const linear = LINEARS.find((entry) => entry.module === match?.[2]);
  return match === null || linear === undefined ? undefined : { layer: Number(match[1]), linear };
}

export function moduleOfSite(site: LinearSite): string {
  return `model.layers.${site.layer}.${site.linear.module}`;
}

/** Layer by layer, in a layer q k v o gate up down. */
export function compareSites(a: LinearSite, b: LinearSite): number {
  return a.layer - b.layer || LINEARS.indexOf(a.linear) - LINEARS.indexOf(b.linear);
}

export interface ExpectedTensor {
  readonly name: string;
  readonly gguf: string;
  readonly shape: readonly number[];
  /** Heads whose rows are regrouped in a GGUF; 0 for none. */
  readonly regroup: number;
}

/** Every tensor of a model of this configuration, in the order in which a token meets them. */
export function expectedTensors(config: ModelConfig): readonly ExpectedTensor[] {
  const { C, L, V } = config;
  const list: ExpectedTensor[] = [{ name: 'model.embed_tokens.weight', gguf: 'token_embd.weight', shape: [V, C], regroup: 0 }];
  for (let layer = 0; layer < L; layer++) {
    const hf = `model.layers.${layer}`;
    list.push({ name: `${hf}.input_layernorm.weight`, gguf: `blk.${layer}.attn_norm.weight`, shape: [C], regroup: 0 });
    for (const { linear, module, gguf } of LINEARS) {
      if (linear === 'gate_proj')
        list.push({ name: `${hf}.post_attention_layernorm.weight`, gguf: `blk.${layer}.ffn_norm.weight`, shape: [C], regroup: 0 });
      const shape = linearShape(config, linear);
      list.push({ name: `${hf}.${module}.weight`, gguf: `blk.${layer}.${gguf}.weight`, shape, regroup: regroupedHeads(config, linear) });
    }
  }
  list.push({ name: 'model.norm.weight', gguf: 'output_norm.weight', shape: [C], regroup: 0 });
  if (!config.tied) list.push({ name: 'lm_head.weight', gguf: 'output.weight', shape: [V, C], regroup: 0 });
  return list;
}

/** Compare what a file has with what its configuration asks for. @throws 'model/missing-tensors', 'model/shape-mismatch' */
export function checkTensors(
  expected: readonly ExpectedTensor[],
  found: (tensor: ExpectedTensor) => readonly number[] | undefined,
  nameOf: (tensor: ExpectedTensor) => string,
): void {
  const missing: string[] = [];
  for (const tensor of expected) {
    const shape = found(tensor);
    if (shape === undefined) missing.push(nameOf(tensor));
    else if (shape.length !== tensor.shape.length || shape.some((dim, axis) => dim !== tensor.shape[axis]))
      throw new AppError(
        'model/shape-mismatch',
        `The tensor ${shown(nameOf(tensor))} has shape [${shape.join(', ')}]; the model's configuration asks for [${tensor.shape.join(', ')}].`,
        {
          why: 'The weights and the configuration are not of the same model.',
          fix: 'Choose all files from one model.',
          facts: { tensor: nameOf(tensor), shape: shape.join(' x '), expected: tensor.shape.join(' x ') },
        },
      );
  }
  if (missing.length > 0)
    throw new AppError(
      'model/missing-tensors',
      `${missing.length} of ${expected.length} tensors are not in the weights, first ${shown(missing[0])}.`,
      {
        why: 'The weights are of another model, or the file is incomplete.',
        fix: 'Choose all files from one model.',
        facts: { missing: missing.slice(0, 20).join(', '), count: missing.length },
      },
    );
}
