// A copy of all records beside the database. Browsers that find a database damaged delete it and make an empty one without a word (reliability.md 0.8): the
// copy says so, and brings the records back; until that is decided no file is freed. One more copy is made before each upgrade of the schema.
import { notify, onChange } from './changes.ts';
import { copyOf, DATABASE_ID, idOf, isCopy, type RecordsCopy, writeCopy } from './copy.ts';
import { asStorageError } from './errors.ts';
import { database, STORES, writing } from './schema.ts';
import type { StoreName } from './types.ts';

const FILE = 'copy-of-records.json';
/** After the last of several changes. */
const QUIET_MS = 2000;

async function readFile(): Promise<RecordsCopy | undefined> {
  try {
    const root = await navigator.storage.getDirectory();
    const value: unknown = JSON.parse(await (await (await root.getFileHandle(FILE)).getFile()).text());
    return isCopy(value) ? value : undefined;
  } catch {
    return undefined; // none yet, or one that cannot be read: then nothing is known to be missing
  }
}

/** Writes the copy now, unless there is one of records that were lost. */
export async function copyRecords(): Promise<void> {
  const db = await database();
  if ((await lostRecords()) !== undefined) return;
  const copy = await copyOf(db, STORES);
  if (made(copy) > 0) await writeCopy(FILE, copy);
  // What was deleted here must not live on in the copy.
  else if ((await readFile()) !== undefined) await forgetCopy();
}
/** Keeps the copy up to date from now on: in one worker, since one is enough. */
export function keepCopy(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  onChange(({ store }) => {
    clearTimeout(timer);
    if (store === 'all') return;
    timer = setTimeout(() => {
      const write = (lock: Lock | null): Promise<void> => (lock === null ? Promise.resolve() : copyRecords());
      // A full disk has room for other messages than this one: the copy before stays.
      void navigator.locks.request('maquette copy', { ifAvailable: true }, write).catch(() => undefined);
    }, QUIET_MS);
  });
}
/** What the copy has of a database that is gone. */
export interface LostRecords {
  readonly madeAt: number;
  readonly models: number;
  readonly tasks: number;
  readonly contestants: number;
}
/** A database is lost while nobody has it open: seen once in good order, it need not be looked at again. */
let nothingLost = false;

/** Undefined where nothing is missing. */
export async function lostRecords(): Promise<LostRecords | undefined> {
  if (nothingLost) return undefined;
  const copy = await readFile();
  if (copy === undefined || made(copy) === 0 || copy.database === (await idOf(await database()))) {
    nothingLost = true;
    return undefined;
  }
  const { madeAt } = copy;
  return { madeAt, models: count(copy, 'models'), tasks: count(copy, 'tasks'), contestants: count(copy, 'contestants') };
}
const count = ({ records }: RecordsCopy, store: StoreName): number => records[store]?.length ?? 0;
const made = (copy: RecordsCopy): number => count(copy, 'models') + count(copy, 'tasks') + count(copy, 'contestants');

/** Every record of the copy that is not there now. Resolves with how many. @throws 'storage/full' */
export async function putBack(): Promise<number> {
  const copy = await readFile();
  if (copy === undefined) return 0;
  let put = 0;
  await writing(STORES, async (tx) => {
    for (const store of STORES) {
      const target = tx.objectStore(store);
      for (const record of copy.records[store] ?? []) {
        const key: unknown = typeof record === 'object' && record !== null ? Reflect.get(record, String(target.keyPath)) : undefined;
        if (typeof key !== 'string') continue;
        // The copy's own id comes back with it: from then on nothing is lost.
        if (key !== DATABASE_ID && (await target.getKey(key)) !== undefined) continue;
        await target.put(record);
        put++;
      }
    }
    await tx.objectStore('settings').put({ key: DATABASE_ID, value: copy.database });
  });
  for (const store of STORES) notify(store, '');
  return put;
}
/** The person starts afresh: the copy goes, and what only it named can be freed. */
export async function forgetCopy(): Promise<void> {
  try {
    await (await navigator.storage.getDirectory()).removeEntry(FILE);
  } catch (error) {
    throw asStorageError(error);
  }
}
