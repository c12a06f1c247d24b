import type { Linear, ModelConfig } from '../engine/types.ts';

export const LINEARS: readonly Linear[] = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

/** Features into and out of a linear: its weight is (out, in). */
export function linearShape(model: ModelConfig, linear: Linear): { readonly inFeatures: number; readonly outFeatures: number } {
  const { C, NH, NKV, HS, F } = model;
  switch (linear) {
    case 'q_proj':
      return { inFeatures: C, outFeatures: NH * HS };
    case 'k_proj':
    case 'v_proj':
      return { inFeatures: C, outFeatures: NKV * HS };
    case 'o_proj':
      return { inFeatures: NH * HS, outFeatures: C };
    case 'gate_proj':
    case 'up_proj':
      return { inFeatures: C, outFeatures: F };
    case 'down_proj':
      return { inFeatures: F, outFeatures: C };
  }
}

/** Weights of all linears of all layers, the head left out. */
export function linearParameters(model: ModelConfig): number {
  let sum = 0;
  for (const linear of LINEARS) {
    const { inFeatures, outFeatures } = linearShape(model, linear);
    sum += inFeatures * outFeatures;
  }
  return sum * model.L;
}

/** All weights of a model. */
export function parameters(model: ModelConfig): number {
  const { C, L, V, tied } = model;
  return linearParameters(model) + (tied ? 1 : 2) * V * C + (2 * L + 1) * C;
}
