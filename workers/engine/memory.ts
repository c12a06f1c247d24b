// What a model will take on the GPU, before any of it is taken.
import { planInference } from '../../src/engine/inference.ts';
import type { MemoryUse, WeightStorage } from '../../src/engine/types.ts';
import { planModel } from '../../src/engine/weights.ts';
import { planTraining } from '../../src/engine/workspace.ts';
import type { ModelConfig } from '../../src/formats/types.ts';
import { methodById } from '../../src/methods/registry.ts';

/** What the numbers beside a model stand for: a conversation of this length, and LoRA of rank 16 on two rows of 256 tokens. */
const CHAT_TOKENS = 1024;
const TRAIN_RANK = 16;
const TRAIN_ROWS = 2;
const TRAIN_TOKENS = 256;

export function chatBytes(config: ModelConfig, storage: WeightStorage): number {
  const { weights } = planModel(config, storage);
  return weights + planInference(config, 1, Math.min(CHAT_TOKENS, config.context)).activations;
}

export function plannedMemory(config: ModelConfig, storage: WeightStorage): MemoryUse {
  const T = Math.min(TRAIN_TOKENS, config.context);
  const size = { rows: TRAIN_ROWS, tokens: TRAIN_ROWS * T, trainedTokens: TRAIN_ROWS * T, longestRow: T + 1 };
  const training = methodById('lora').training({ rank: TRAIN_RANK, batch: TRAIN_ROWS, microBatch: TRAIN_ROWS }, config, size);
  const planned = planTraining(config, training?.shape ?? [TRAIN_ROWS, T], training?.trainedValues ?? 0);
  return { weights: planModel(config, storage).weights, activations: planned.activations, training: planned.training };
}

export function loraTrainingBytes(config: ModelConfig, storage: WeightStorage): number {
  const { weights, activations, training } = plannedMemory(config, storage);
  return weights + activations + training;
}
