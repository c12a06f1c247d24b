// Writes into web-llm's store. In dedicated workers only: nothing else may write there at once.
import { STORE } from './webllm-store.ts';

export type Scope = 'model' | 'config' | 'wasm';

async function folder(scope: Scope): Promise<FileSystemDirectoryHandle> {
  let directory = await navigator.storage.getDirectory();
  for (const part of [STORE, 'webllm', scope]) directory = await directory.getDirectoryHandle(part, { create: true });
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
