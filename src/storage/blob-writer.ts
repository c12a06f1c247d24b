// Writing big bytes into OPFS. Sync access handles do it, which only workers have: hashed on the way, flushed, and moved to their name when whole.
import { createSHA256 } from 'hash-wasm';
import type { ByteSource } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';
import { damaged, FOLDER, folder, INCOMING, lockName, openBlob, sizeOf, unavailable } from './blobs.ts';
import { asStorageError, storageFull } from './errors.ts';
import type { BlobRef } from './types.ts';

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

/** Keeps the bytes of a source. Reads and writes by pieces; `onBytes` hears how many are done. @throws 'storage/full', AbortError */
export type Put = (source: ByteSource, options?: { onBytes?: (done: number) => void; signal?: AbortSignal }) => Promise<BlobRef>;

/** Runs `work`, which may put blobs and must have written the records that name them when it resolves. Until then nobody frees these blobs. */
export async function storingBlobs<T>(work: (put: Put) => Promise<T>): Promise<T> {
  const releases: (() => void)[] = [];
  const hold = (name: string): Promise<void> =>
    new Promise((held, failed) => {
      navigator.locks
        .request(lockName(name), { mode: 'shared' }, () => {
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
async function putBlob(
  source: ByteSource,
  hold: (name: string) => Promise<void>,
  { onBytes, signal }: { onBytes?: (done: number) => void; signal?: AbortSignal },
): Promise<BlobRef> {
  const [incoming, blobs] = await Promise.all([folder(INCOMING), folder(FOLDER)]);
  const temporary = crypto.randomUUID();
  await hold(temporary);
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

/** All of a kept file, with its hash checked: for what is small enough to be in memory. @throws 'storage/missing', 'storage/damaged' */
export async function readBlob(ref: BlobRef & { readonly name: string }): Promise<Uint8Array> {
  const source = await openBlob(ref);
  const bytes = await source.read(0, source.size);
  const hash = await createSHA256();
  hash.update(bytes);
  if (hash.digest('hex') !== ref.sha256) throw damaged(ref.name, 'Its SHA-256 is not the one it was saved with.');
  return bytes;
}
