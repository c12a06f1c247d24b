// Records that are there and that this version cannot read: found, saved as they are, deleted.
import { notify } from './changes.ts';
import { asStorageError } from './errors.ts';
import { forgetUnreadable, type Unreadable, unreadableRecords } from './restore.ts';
import { database, readAll, STORES, writing } from './schema.ts';

/** Reads everything and resolves with what could not be read. */
export async function findUnreadable(): Promise<readonly Unreadable[]> {
  for (const store of STORES) await readAll(store);
  return unreadableRecords();
}
/** The record as it stands on the disk, as JSON. */
export async function rawRecord({ store, key }: Unreadable): Promise<string> {
  try {
    return JSON.stringify(await (await database()).get(store, key), null, 2);
  } catch (error) {
    throw asStorageError(error);
  }
}
export async function deleteUnreadable({ store, key }: Unreadable): Promise<void> {
  await writing([store], (tx) => tx.objectStore(store).delete(key));
  forgetUnreadable(store, key);
  notify(store, key);
}
