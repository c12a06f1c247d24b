import { LINEARS, linearShape, weightShapes } from '../engine/linears.ts';
import type { ModelConfig } from '../engine/types.ts';

/** Weights of all linears of all layers, the head left out. */
export function linearParameters(model: ModelConfig): number {
  let sum = 0;
  for (const linear of LINEARS) {
    const [outFeatures, inFeatures] = linearShape(model, linear);
    sum += inFeatures * outFeatures;
  }
  return sum * model.L;
}

/** All weights of a model; a tied head counts once. */
export function parameters(model: ModelConfig): number {
  let sum = 0;
  for (const shape of weightShapes(model).values()) sum += shape.reduce((product, n) => product * n, 1);
  return sum;
}
