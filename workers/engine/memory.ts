// What a model will take on the GPU, before any of it is taken.
import { planInference } from '../../src/engine/inference.ts';
import { STORAGE_PLANS } from '../../src/engine/storage.ts';
import type { StoragePlan, WeightStorage } from '../../src/engine/types.ts';
import { modelStorage, planModel, weightShapes } from '../../src/engine/weights.ts';
import { planTraining } from '../../src/engine/workspace.ts';
import type { ModelConfig, TensorInfo } from '../../src/formats/types.ts';
import { methodById } from '../../src/methods/registry.ts';
import type { StorageChoice } from '../../src/rpc/contract.ts';

/** What the numbers beside a model stand for: a conversation of this length, and LoRA of rank 16 on two rows of 256 tokens. */
const CHAT_TOKENS = 1024;
const TRAIN_RANK = 16;
const TRAIN_ROWS = 2;
const TRAIN_TOKENS = 256;

/** Every way of holding a model that differs from the others. A plan that comes to what the file has is marked as exact and proposed; 'as-is' stands for it
 *  only where no other plan does. */
export function storageChoices(config: ModelConfig, infos: readonly TensorInfo[]): StorageChoice[] {
  const named = STORAGE_PLANS.filter((plan) => plan !== 'as-is');
  const held = (plan: StoragePlan): string => JSON.stringify([...modelStorage(config, plan, infos)]);
  const exact: StoragePlan = named.find((plan) => held(plan) === held('as-is')) ?? 'as-is';
  const plans = [exact, ...named].filter((plan, i, all) => all.findIndex((other) => held(other) === held(plan)) === i);
  return plans.map((storage): StorageChoice => {
    const { weights } = planModel(config, storage, infos);
    return {
      storage,
      exact: storage === exact || storage === 'f32',
      types: heldTypes(config, storage, infos),
      weightBytes: weights,
      chatBytes: weights + planInference(config, 1, Math.min(CHAT_TOKENS, config.context)).activations,
      trainBytes: weights + loraTrainingBytes(config),
      recommended: storage === exact,
    };
  });
}

/** Bytes of LoRA beside the weights. */
function loraTrainingBytes(config: ModelConfig): number {
  const T = Math.min(TRAIN_TOKENS, config.context);
  const size = { rows: TRAIN_ROWS, tokens: TRAIN_ROWS * T, trainedTokens: TRAIN_ROWS * T, longestRow: T + 1 };
  const training = methodById('lora').training({ rank: TRAIN_RANK, batch: TRAIN_ROWS, microBatch: TRAIN_ROWS }, config, size);
  const planned = planTraining(config, training?.shape ?? [TRAIN_ROWS, T], training?.trainedValues ?? 0);
  return planned.activations + planned.training;
}

/** The types of the matrices, most numbers first: "F32", "Q4_1 and Q8_0". */
function heldTypes(config: ModelConfig, plan: StoragePlan, infos: readonly TensorInfo[]): string {
  const storage = modelStorage(config, plan, infos);
  const numbers = new Map<WeightStorage, number>();
  for (const [name, shape] of weightShapes(config)) {
    const type = storage.get(name);
    if (type !== undefined && shape.length > 1) numbers.set(type, (numbers.get(type) ?? 0) + shape[0] * shape[1]);
  }
  return [...numbers]
    .sort((a, b) => b[1] - a[1])
    .map(([type]) => type.toUpperCase())
    .join(' and ');
}
