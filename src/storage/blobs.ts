// Big bytes in OPFS, each file named by the SHA-256 of what it holds. Writing needs sync access handles, which only workers have.
import { createSHA256 } from 'hash-wasm';
import type { ByteSource } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';
import { asStorageError, storageFull } from './errors.ts';
import { readAll } from './schema.ts';
import type { BlobRef } from './types.ts';

const FOLDER = 'blobs';
/** Files that are still being written. They become blobs by being moved. */
const INCOMING = 'incoming';
const CHUNK_BYTES = 8 * 1024 * 1024;

interface SyncHandle {
  truncate(size: number): void;
  write(bytes: Uint8Array<ArrayBuffer>, options: { at: number }): number;
  flush(): void;
  close(): void;
}
interface WorkerFile {
  createSyncAccessHandle(): Promise<SyncHandle>;
  move(parent: FileSystemDirectoryHandle, name: string): Promise<void>;
}
function isWorkerFile(handle: unknown): handle is WorkerFile {
  return typeof handle === 'object' && handle !== null && 'createSyncAccessHandle' in handle && 'move' in handle;
}

async function folder(name: string): Promise<FileSystemDirectoryHandle> {
  if (typeof navigator === 'undefined' || navigator.storage?.getDirectory === undefined) throw unavailable();
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle(name, { create: true });
}
function unavailable(): AppError {
  return new AppError('storage/unavailable', 'This browser lets the page keep no files.', {
    why: 'The file system for pages (OPFS) is missing or switched off, as in some private windows.',
    fix: 'Open the page in an ordinary window of Chrome, Edge, Firefox or Safari in its current version.',
  });
}

/** Keeps the bytes of a source. Reads and writes by pieces; `onBytes` hears how many are done. @throws 'storage/full', AbortError */
export type Put = (source: ByteSource, options?: { onBytes?: (done: number) => void; signal?: AbortSignal }) => Promise<BlobRef>;

/** Runs `work`, which may put blobs and must have written the records that name them when it resolves. Until then nobody frees these blobs. */
export async function storingBlobs<T>(work: (put: Put) => Promise<T>): Promise<T> {
  const releases: (() => void)[] = [];
  const hold = (sha256: string): Promise<void> =>
    new Promise((held, failed) => {
      navigator.locks
        .request(lockName(sha256), { mode: 'shared' }, () => {
          held();
          return new Promise<void>((release) => releases.push(release));
        })
        .catch(failed);
    });
  try {
    return await work((source, options) => putBlob(source, hold, options ?? {}));
  } catch (error) {
    throw isAbortError(error) ? error : asStorageError(error);
  } finally {
    for (const release of releases) release();
  }
}
function isAbortError(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
function lockName(sha256: string): string {
  return `maquette blob ${sha256}`;
}

async function putBlob(
  source: ByteSource,
  hold: (sha256: string) => Promise<void>,
  { onBytes, signal }: { onBytes?: (done: number) => void; signal?: AbortSignal },
): Promise<BlobRef> {
  const [incoming, blobs] = await Promise.all([folder(INCOMING), folder(FOLDER)]);
  const temporary = crypto.randomUUID();
  const handle = await incoming.getFileHandle(temporary, { create: true });
  try {
    if (!isWorkerFile(handle)) throw unavailable();
    const sha256 = await writeHashing(await handle.createSyncAccessHandle(), source, onBytes, signal);
    await hold(sha256);
    const there = await sizeOf(blobs, sha256);
    if (there === source.size) await incoming.removeEntry(temporary);
    else await handle.move(blobs, sha256);
    return { sha256, bytes: source.size };
  } catch (error) {
    await incoming.removeEntry(temporary).catch(() => undefined);
    throw error instanceof Error && error.name === 'QuotaExceededError' ? storageFull(source.size, error) : error;
  }
}

/** Every count is checked: at the edge of the quota some browsers write short, or answer with a huge number, instead of throwing (wa-sqlite 336). */
async function writeHashing(
  handle: SyncHandle,
  source: ByteSource,
  onBytes: ((done: number) => void) | undefined,
  signal: AbortSignal | undefined,
): Promise<string> {
  try {
    const hash = await createSHA256();
    handle.truncate(0);
    for (let at = 0; at < source.size; at += CHUNK_BYTES) {
      signal?.throwIfAborted();
      const end = Math.min(at + CHUNK_BYTES, source.size);
      const piece = new Uint8Array(await source.read(at, end));
      if (piece.length !== end - at) {
        throw new AppError('file/changed', `${source.name} could not be read to its end.`, {
          why: `${end - at} bytes were asked for at ${at}, ${piece.length} came.`,
          fix: 'The file was changed or moved while it was read. Choose it again.',
        });
      }
      const written = handle.write(piece, { at });
      if (written !== piece.length) throw storageFull(source.size);
      hash.update(piece);
      onBytes?.(end);
    }
    handle.flush();
    return hash.digest('hex');
  } finally {
    handle.close();
  }
}

async function sizeOf(directory: FileSystemDirectoryHandle, name: string): Promise<number | undefined> {
  try {
    return (await (await directory.getFileHandle(name)).getFile()).size;
  } catch (error) {
    if (error instanceof Error && error.name === 'NotFoundError') return undefined;
    throw error;
  }
}

/** A kept file, to be read by slices under the name it had. @throws 'storage/missing', 'storage/damaged' */
export async function openBlob(ref: BlobRef & { readonly name: string }): Promise<ByteSource> {
  try {
    const file = await (await (await folder(FOLDER)).getFileHandle(ref.sha256)).getFile();
    if (file.size !== ref.bytes) throw damaged(ref.name, `It has ${file.size} bytes instead of ${ref.bytes}.`);
    return {
      name: ref.name,
      size: file.size,
      read: async (start, end) => new Uint8Array(await file.slice(start, end).arrayBuffer()),
    };
  } catch (error) {
    throw asStorageError(error);
  }
}

/** All of a kept file, with its hash checked: for what is small enough to be in memory. @throws 'storage/missing', 'storage/damaged' */
export async function readBlob(ref: BlobRef & { readonly name: string }): Promise<Uint8Array> {
  const source = await openBlob(ref);
  const bytes = await source.read(0, source.size);
  const hash = await createSHA256();
  hash.update(bytes);
  if (hash.digest('hex') !== ref.sha256) throw damaged(ref.name, 'Its SHA-256 is not the one it was saved with.');
  return bytes;
}
function damaged(name: string, why: string): AppError {
  return new AppError('storage/damaged', `${name} was changed on the disk since it was saved.`, {
    why,
    fix: 'Delete it here and add its files again.',
  });
}

/** Bytes in memory as a source. */
export function bytesSource(name: string, bytes: Uint8Array): ByteSource {
  return { name, size: bytes.length, read: async (start, end) => bytes.subarray(start, end) };
}

/** The SHA-256 of every blob that a record names. */
async function referenced(): Promise<Set<string>> {
  const [models, adapters, runs] = await Promise.all([readAll('models'), readAll('adapters'), readAll('runs')]);
  const names = new Set<string>();
  for (const { files } of [...models, ...adapters]) for (const { sha256 } of files) names.add(sha256);
  for (const { checkpoint } of runs) if (checkpoint !== undefined) names.add(checkpoint.sha256);
  return names;
}

/** Deletes every blob that no record names and nobody is about to name, and what an interrupted import left. Resolves with the bytes freed. */
export async function freeUnreferenced(): Promise<number> {
  try {
    const [blobs, incoming] = await Promise.all([folder(FOLDER), folder(INCOMING)]);
    let freed = 0;
    const used = await referenced();
    for await (const name of blobs.keys()) {
      if (used.has(name)) continue;
      await navigator.locks.request(lockName(name), { ifAvailable: true }, async (lock) => {
        if (lock === null || (await referenced()).has(name)) return;
        freed += (await sizeOf(blobs, name)) ?? 0;
        await blobs.removeEntry(name);
      });
    }
    // A file that is still written to cannot be removed, and is left alone by that.
    for await (const name of incoming.keys()) await incoming.removeEntry(name).catch(() => undefined);
    return freed;
  } catch (error) {
    throw asStorageError(error);
  }
}
