// All records of a database as one file beside it.
import { openDB } from 'idb';
import type { StoreName } from './types.ts';

/** A setting that is made with the database: one that a browser deleted and made anew has another. */
export const DATABASE_ID = 'database';

/** Curves and replies of years may be large; then the copy is of what a person made. */
const LARGEST = 64_000_000;
const LARGE: readonly StoreName[] = ['results', 'runs'];

/** A database of any version. */
interface Readable {
  readonly objectStoreNames: { contains(name: string): boolean };
  getAll(store: StoreName): Promise<readonly unknown[]>;
  get(store: StoreName, key: string): Promise<unknown>;
}

/** Every record of a database, as it stood. */
export interface RecordsCopy {
  readonly database: string;
  readonly madeAt: number;
  readonly records: Readonly<Partial<Record<StoreName, readonly unknown[]>>>;
}
export function isCopy(value: unknown): value is RecordsCopy {
  return typeof value === 'object' && value !== null && 'database' in value && 'madeAt' in value && 'records' in value;
}

export async function copyOf(db: Readable, stores: readonly StoreName[]): Promise<RecordsCopy> {
  const records: Partial<Record<StoreName, readonly unknown[]>> = {};
  for (const store of stores) if (db.objectStoreNames.contains(store)) records[store] = await db.getAll(store);
  return { database: await idOf(db), madeAt: Date.now(), records };
}
/** Made with the database: a database that was made anew has another. */
export async function idOf(db: Readable): Promise<string> {
  const found: unknown = await db.get('settings', DATABASE_ID);
  const value: unknown = typeof found === 'object' && found !== null ? Reflect.get(found, 'value') : undefined;
  return typeof value === 'string' ? value : 'first';
}
export async function writeCopy(name: string, copy: RecordsCopy): Promise<void> {
  let text = JSON.stringify(copy);
  if (text.length > LARGEST) {
    const small = Object.entries(copy.records).filter(([store]) => !LARGE.some((large) => large === store));
    text = JSON.stringify({ ...copy, records: Object.fromEntries(small) });
  }
  const root = await navigator.storage.getDirectory();
  // What is written replaces the file when it is closed, so a copy is whole or the one before.
  const out = await (await root.getFileHandle(name, { create: true })).createWritable();
  await out.write(text);
  await out.close();
}
/** Before the schema goes up: the records as the version before had them, in a file of their own. */
export async function copyBefore(name: string, version: number, stores: readonly StoreName[]): Promise<void> {
  const { version: now = 0 } = (await indexedDB.databases()).find((one) => one.name === name) ?? {};
  if (now === 0 || now >= version) return;
  const db = await openDB(name);
  try {
    await writeCopy(`records-before-version-${version}.json`, await copyOf(db, stores));
  } finally {
    db.close();
  }
}
