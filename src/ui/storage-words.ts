// How a model is held on the GPU, in words.
import type { StoragePlan } from '../engine/types.ts';
import type { HeldDifference, StorageChoice } from '../rpc/contract.ts';
import type { ModelRecord } from '../storage/types.ts';

/** "As it is (Q4_1 and Q8_0)", "8-bit (Q8_0)". */
export function choiceName({ storage, exact, types }: Pick<StorageChoice, 'storage' | 'exact' | 'types'>): string {
  if (storage === 'f32') return 'Exact floats (F32)';
  if (exact) return `As it is (${types})`;
  return `${storage === 'f16' ? 'Half floats' : storage} (${types})`;
}

/** What comes of it, in a few words. */
export function choiceNote({ storage, exact }: Pick<StorageChoice, 'storage' | 'exact'>): string {
  if (exact) return 'loses nothing';
  if (storage === 'f16') return 'rounded to 11 bits';
  return storage === '8-bit' ? 'rounded to 8 bits in blocks of 32' : 'rounded to 4 bits in blocks of 32, embedding and head to 8';
}

/** For a line that has little room: "f16", "8-bit", or the types of the file that is held as it is. */
export function shortStorage(storage: StoragePlan, model: Pick<ModelRecord, 'weightTypes'> | undefined): string {
  return storage === 'as-is' ? (model?.weightTypes ?? 'as it is') : storage;
}

/** "Trained on Exact floats (F32), and the model is held as 4-bit (Q4_1 and Q8_0) now: 1 of 3 pinned prompts is answered differently." */
export function differenceWords({ runtime, trainedOn, heldNow, pinned }: HeldDifference): string {
  const now = runtime === 'webllm' ? `web-llm runs it as ${choiceName(heldNow)}` : `the model is held as ${choiceName(heldNow)} now`;
  const held = `Trained on ${choiceName(trainedOn)}, and ${now}`;
  if (pinned.length === 0) return `${held}. No pinned prompt was kept to measure what that changes.`;
  const different = pinned.filter(({ was, now }) => was !== now).length;
  const count = different === 0 ? 'none' : String(different);
  return `${held}: ${count} of ${pinned.length} pinned ${pinned.length === 1 ? 'prompt' : 'prompts'} ${different > 1 ? 'are' : 'is'} answered differently.`;
}
