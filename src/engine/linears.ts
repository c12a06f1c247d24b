// Which tensors a model has, from its configuration alone.
import type { Linear, ModelConfig } from './types.ts';

export const LINEARS: readonly Linear[] = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

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
