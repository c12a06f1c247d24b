// Big bytes in OPFS, each file named by the SHA-256 of what it holds: reading them, and freeing those that nothing names. Workers write them (blob-writer.ts).
import type { ByteSource } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';
import { asStorageError } from './errors.ts';
import { readAll } from './schema.ts';
import type { BlobRef, WebllmCopy } from './types.ts';

export const FOLDER = 'blobs';
/** Files that are still being written. They become blobs by being moved. */
export const INCOMING = 'incoming';

export async function folder(name: string): Promise<FileSystemDirectoryHandle> {
  if (typeof navigator === 'undefined' || navigator.storage?.getDirectory === undefined) throw unavailable();
  // Some private windows offer the file system and refuse it when it is asked for. A state that is not valid is site data being cleared.
  const root = await navigator.storage.getDirectory().catch((cause: unknown) => {
    throw cause instanceof Error && cause.name === 'InvalidStateError' ? cause : unavailable(cause);
  });
  return root.getDirectoryHandle(name, { create: true });
}
export function unavailable(cause?: unknown): AppError {
  return new AppError('storage/unavailable', 'This browser lets the page keep no files.', {
    cause,
    why: 'The file system for pages (OPFS) is missing or switched off, as in some private windows.',
    fix: 'Open the page in an ordinary window of Chrome, Edge, Firefox or Safari in its current version.',
  });
}

export async function sizeOf(directory: FileSystemDirectoryHandle, name: string): Promise<number | undefined> {
  try {
    return (await (await directory.getFileHandle(name)).getFile()).size;
  } catch (error) {
    if (error instanceof Error && error.name === 'NotFoundError') return undefined;
    throw error;
  }
}

/** Held while a file is written, and until a record names it. */
export function lockName(sha256: string): string {
  return `maquette blob ${sha256}`;
}

/** A kept file. @throws 'storage/missing', 'storage/damaged' */
export async function blobFile(ref: BlobRef & { readonly name: string }): Promise<File> {
  try {
    const file = await (await (await folder(FOLDER)).getFileHandle(ref.sha256)).getFile();
    if (file.size !== ref.bytes) throw damaged(ref.name, `It has ${file.size} bytes instead of ${ref.bytes}.`);
    return file;
  } catch (error) {
    throw asStorageError(error);
  }
}

/** A kept file, to be read by slices under the name it had. @throws 'storage/missing', 'storage/damaged' */
export async function openBlob(ref: BlobRef & { readonly name: string }): Promise<ByteSource> {
  const file = await blobFile(ref);
  return { name: ref.name, size: file.size, read: async (start, end) => new Uint8Array(await file.slice(start, end).arrayBuffer()) };
}

export function damaged(name: string, why: string): AppError {
  return new AppError('storage/damaged', `${name} was changed on the disk since it was saved.`, {
    why,
    fix: 'Delete it here and add its files again.',
  });
}

/** Bytes in memory as a source. */
export function bytesSource(name: string, bytes: Uint8Array): ByteSource {
  return { name, size: bytes.length, read: async (start, end) => bytes.subarray(start, end) };
}

/** Everything that is kept for web-llm beside a model's own files. */
export function filesOfCopy(copy: WebllmCopy | undefined): readonly (BlobRef & { readonly name: string })[] {
  return copy === undefined ? [] : [...copy.files, copy.library];
}

/** The SHA-256 of every blob that a record names. */
async function referenced(): Promise<Set<string>> {
  const [models, adapters, runs] = await Promise.all([readAll('models'), readAll('adapters'), readAll('runs')]);
  const names = new Set<string>();
  for (const { files } of [...models, ...adapters]) for (const { sha256 } of files) names.add(sha256);
  for (const { webllm } of models) for (const { sha256 } of filesOfCopy(webllm)) names.add(sha256);
  for (const { checkpoint } of runs) if (checkpoint !== undefined) names.add(checkpoint.sha256);
  return names;
}

/** Another tab may free at the same time. */
function missingIsFine(error: unknown): void {
  if (!(error instanceof Error) || error.name !== 'NotFoundError') throw error;
}

/** Deletes every blob that no record names and nobody is about to name, and what an interrupted import left. Resolves with the bytes freed. */
export async function freeUnreferenced(): Promise<number> {
  try {
    // Where a browser lost the records, nothing names these files, and they are all that is left.
    if ((await (await import('./backup.ts')).lostRecords()) !== undefined) return 0;
    const [blobs, incoming] = await Promise.all([folder(FOLDER), folder(INCOMING)]);
    let freed = 0;
    const used = await referenced();
    for await (const name of blobs.keys()) {
      if (used.has(name)) continue;
      await navigator.locks.request(lockName(name), { ifAvailable: true }, async (lock) => {
        if (lock === null || (await referenced()).has(name)) return;
        const size = (await sizeOf(blobs, name)) ?? 0;
        await blobs.removeEntry(name).catch(missingIsFine);
        freed += size;
      });
    }
    for await (const name of incoming.keys()) {
      await navigator.locks.request(lockName(name), { ifAvailable: true }, async (lock) => {
        if (lock !== null) await incoming.removeEntry(name).catch(missingIsFine);
      });
    }
    return freed;
  } catch (error) {
    // A browser that keeps no files has none to free: boards and records go on without them.
    if (error instanceof AppError && error.code === 'storage/unavailable') return 0;
    throw asStorageError(error);
  }
}
