// The models on this device. Their bytes are in OPFS (blobs.ts); here is what is known of them.
import { AppError } from '../lib/error.ts';
import { notify } from './changes.ts';
import { restore } from './restore.ts';
import { readAll, readOne, write, writing } from './schema.ts';
import type { ModelRecord } from './types.ts';

/** Newest use first. */
export async function listModels(): Promise<ModelRecord[]> {
  return (await readAll('models')).sort((a, b) => b.lastUsedAt - a.lastUsedAt);
}
export function readModel(id: string): Promise<ModelRecord | undefined> {
  return readOne('models', id);
}
/** @throws 'model/missing' */
export async function needModel(id: string): Promise<ModelRecord> {
  const model = await readModel(id);
  if (model !== undefined) return model;
  throw missingModel(id);
}
function missingModel(id: string): AppError {
  return new AppError('model/missing', 'This model is not on this device any more.', {
    why: 'It was deleted, or the browser cleared its storage.',
    fix: 'Add its files again on the Models screen; what was made with it goes on from there.',
    facts: { modelId: id },
  });
}
export function saveModel(model: ModelRecord): Promise<void> {
  return write('models', model);
}
/** Changes a model as it is on the disk now: what two tabs or a worker write at once stands, and what was deleted stays deleted. @throws 'model/missing' */
export async function updateModel(id: string, change: (model: ModelRecord) => ModelRecord): Promise<void> {
  await writing(['models'], async (tx) => {
    const found = restore('models', await tx.objectStore('models').get(id));
    if (found === undefined) throw missingModel(id);
    await tx.objectStore('models').put({ ...change(found), id });
  });
  notify('models', id);
}
export function renameModel(id: string, name: string): Promise<void> {
  return updateModel(id, (model) => ({ ...model, name }));
}
/** The record only; its bytes go with `freeUnreferenced`. */
export async function deleteModelRecord(id: string): Promise<void> {
  await writing(['models'], (tx) => tx.objectStore('models').delete(id));
  notify('models', id);
}
