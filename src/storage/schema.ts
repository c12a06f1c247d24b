// The one database: its stores, its numbered upgrades, and the few ways to read and write a record.
import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB, type StoreNames } from 'idb';
import type { AppError } from '../lib/error.ts';
import { notify } from './changes.ts';
import { copyBefore, DATABASE_ID } from './copy.ts';
import { asStorageError, blockedByOtherTab, newerVersion } from './errors.ts';
import { type Records, restore } from './restore.ts';
import type { StoreName } from './types.ts';

export interface Schema extends DBSchema {
  models: { key: string; value: unknown };
  tasks: { key: string; value: unknown };
  datasets: { key: string; value: unknown };
  contestants: { key: string; value: unknown; indexes: { taskId: string } };
  results: { key: string; value: unknown; indexes: { taskId: string; contestantId: string } };
  adapters: { key: string; value: unknown };
  runs: { key: string; value: unknown; indexes: { taskId: string } };
  settings: { key: string; value: unknown };
}
export type Database = IDBPDatabase<Schema>;
/** A transaction that writes, over the stores it names. */
export type Writing = IDBPTransaction<Schema, StoreNames<Schema>[], 'readwrite'>;

export const DATABASE_NAME = 'maquette';
export const STORES: readonly StoreName[] = ['models', 'tasks', 'datasets', 'contestants', 'results', 'adapters', 'runs', 'settings'];

/** UPGRADES[n] brings version n to n + 1. Forward only; a released one is never changed. */
const UPGRADES: readonly ((db: Database) => void)[] = [
  (db) => {
    db.createObjectStore('models', { keyPath: 'id' });
    db.createObjectStore('tasks', { keyPath: 'id' });
    db.createObjectStore('datasets', { keyPath: 'taskId' });
    db.createObjectStore('contestants', { keyPath: 'id' }).createIndex('taskId', 'taskId');
    const results = db.createObjectStore('results', { keyPath: 'id' });
    results.createIndex('taskId', 'taskId');
    results.createIndex('contestantId', 'contestantId');
    db.createObjectStore('adapters', { keyPath: 'id' });
    db.createObjectStore('runs', { keyPath: 'id' }).createIndex('taskId', 'taskId');
    const settings = db.createObjectStore('settings', { keyPath: 'key' });
    // A failed request aborts the upgrade, and opening fails with it.
    void settings.put({ key: DATABASE_ID, value: crypto.randomUUID() });
  },
];
export const VERSION = UPGRADES.length;

type ProblemListener = (problem: AppError | undefined) => void;
const problemListeners = new Set<ProblemListener>();
/** Calls back with 'storage/blocked', 'storage/newer' or 'storage/closed' when it comes up, and with undefined when it is over. */
export function onStorageProblem(callback: ProblemListener): () => void {
  problemListeners.add(callback);
  return () => problemListeners.delete(callback);
}
function tell(problem: AppError | undefined): void {
  for (const listener of problemListeners) listener(problem);
}

let opened: Promise<Database> | undefined;

/** The open database. While an older tab holds it, this waits, and listeners hear 'storage/blocked'. @throws 'storage/newer', 'storage/failed' */
export function database(): Promise<Database> {
  opened ??= open().catch((error: unknown) => {
    opened = undefined;
    throw asStorageError(error);
  });
  return opened;
}

async function open(): Promise<Database> {
  let wasBlocked = false;
  // A copy of what is there, should an upgrade go wrong. There is none yet to copy before.
  if (VERSION > 1) await copyBefore(DATABASE_NAME, VERSION, STORES);
  const db = await openDB<Schema>(DATABASE_NAME, VERSION, {
    upgrade(upgrading, oldVersion) {
      for (const upgrade of UPGRADES.slice(oldVersion)) upgrade(upgrading);
    },
    blocked() {
      wasBlocked = true;
      tell(blockedByOtherTab());
    },
    blocking(_current, next) {
      // Another tab wants a newer version, or to erase everything (next is null): let go, or it waits for ever.
      closeDatabase();
      if (next !== null) tell(newerVersion());
    },
    terminated() {
      opened = undefined;
      tell(asStorageError(new DOMException('The connection was closed by the browser.', 'InvalidStateError')));
    },
  });
  if (wasBlocked) tell(undefined);
  return db;
}

/** Lets go of the database; the next use opens it again. */
export function closeDatabase(): void {
  void opened?.then(
    (db) => db.close(),
    () => undefined,
  );
  opened = undefined;
}

export async function readOne<S extends StoreName>(store: S, key: string): Promise<Records[S] | undefined> {
  try {
    const found = await (await database()).get(store, key);
    return found === undefined ? undefined : restore(store, found);
  } catch (error) {
    throw asStorageError(error);
  }
}

export async function readAll<S extends StoreName>(store: S): Promise<Records[S][]> {
  try {
    return kept(store, await (await database()).getAll(store));
  } catch (error) {
    throw asStorageError(error);
  }
}

export async function readByTask<S extends 'contestants' | 'results' | 'runs'>(store: S, taskId: string): Promise<Records[S][]> {
  try {
    const db = await database();
    if (store === 'contestants') return kept(store, await db.getAllFromIndex('contestants', 'taskId', taskId));
    if (store === 'results') return kept(store, await db.getAllFromIndex('results', 'taskId', taskId));
    return kept(store, await db.getAllFromIndex('runs', 'taskId', taskId));
  } catch (error) {
    throw asStorageError(error);
  }
}

function kept<S extends StoreName>(store: S, values: readonly unknown[]): Records[S][] {
  return values.map((value) => restore(store, value)).filter((record) => record !== undefined);
}

/** Writes a record and tells everyone. `strict` flushes to the disk: for everything a person made; `relaxed` for what is written often. */
export async function write<S extends StoreName>(store: S, record: Records[S], durability: 'strict' | 'relaxed' = 'strict'): Promise<void> {
  const key = await writing([store], (tx) => tx.objectStore(store).put(record), durability);
  notify(store, String(key));
}

/** Several reads and writes as one: all of it or nothing. `work` may await only what belongs to the transaction. @throws 'storage/full' */
export async function writing<T>(
  stores: readonly StoreName[],
  work: (tx: Writing) => Promise<T>,
  durability: 'strict' | 'relaxed' = 'strict',
): Promise<T> {
  try {
    const tx = (await database()).transaction([...stores], 'readwrite', { durability });
    // The transaction itself fails where no request does: a full disk aborts it at the end.
    const done = tx.done;
    done.catch(() => undefined);
    let made: T;
    try {
      made = await work(tx);
    } catch (error) {
      if (tx.error === null) {
        try {
          tx.abort();
        } catch {
          // it has already ended
        }
      }
      await done.catch((cause: unknown) => {
        if (cause instanceof Error && cause.name === 'QuotaExceededError') throw cause;
      });
      throw error;
    }
    await done;
    return made;
  } catch (error) {
    throw asStorageError(error);
  }
}
