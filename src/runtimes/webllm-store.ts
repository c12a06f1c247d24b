// web-llm's store in the origin's private file system, written by us: what it would fetch is there before it looks, under an address that nobody answers. The
// files are there while a model is loaded and no longer.
import { AppError } from '../lib/error.ts';

const ROOT = 'tvmjs-opfs-store';
export type Scope = 'model' | 'config' | 'wasm';

async function folder(scope: Scope): Promise<FileSystemDirectoryHandle> {
  let directory = await navigator.storage.getDirectory();
  for (const part of [ROOT, 'webllm', scope]) directory = await directory.getDirectoryHandle(part, { create: true });
  return directory;
}

async function hashed(url: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(url));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function write(directory: FileSystemDirectoryHandle, name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const handle = await directory.getFileHandle(name, { create: true });
  const access = await handle.createSyncAccessHandle();
  try {
    access.truncate(0);
    // Some browsers write less than they were given, or report absurd counts, where others throw.
    if (access.write(bytes) !== bytes.byteLength) throw new DOMException(`${name} was not written to its end.`, 'QuotaExceededError');
    access.flush();
  } finally {
    access.close();
  }
}

/** Puts one file under its address; the record beside it is written last, and web-llm takes nothing without it. Dedicated workers only. */
export async function putArtifact(scope: Scope, url: string, bytes: Uint8Array<ArrayBuffer>, contentType: string): Promise<void> {
  const directory = await folder(scope);
  const name = await hashed(url);
  await write(directory, `${name}.bin`, bytes);
  const record = JSON.stringify({ url, nbytes: bytes.byteLength, contentType });
  await write(directory, `${name}.record.json`, new TextEncoder().encode(record));
}

/** Runs `use` while no other tab of this site has files in the store, and leaves nothing there, however it ends. @throws AbortError */
export async function withStore<T>(signal: AbortSignal, onWait: () => void, use: () => Promise<T>): Promise<T> {
  const wait = setTimeout(onWait, 500);
  try {
    return await navigator.locks.request('maquette web-llm store', { signal }, async () => {
      clearTimeout(wait);
      await clearStore();
      try {
        return await use();
      } finally {
        await clearStore();
      }
    });
  } finally {
    clearTimeout(wait);
  }
}

/** Takes everything out, what an earlier tab left behind too. */
export async function clearStore(): Promise<void> {
  const root = await navigator.storage.getDirectory();
  try {
    await root.removeEntry(ROOT, { recursive: true });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'NotFoundError') return;
    throw new AppError('webllm/store', "Web-llm's store on this device could not be emptied.", {
      why: error instanceof Error ? error.message : String(error),
      fix: 'Close other tabs of this site, then load the model again.',
      cause: error,
    });
  }
}
