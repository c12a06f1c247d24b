// How much is kept here, by kind, and whether the browser promises to keep it.
import { filesOfCopy } from './blobs.ts';
import { readAll } from './schema.ts';
import type { BlobRef, StorageUse } from './types.ts';

/** The browser's own quota is not told: browsers make that number up (Chrome since 138). */
export async function storageUse(): Promise<StorageUse> {
  const [models, adapters, runs, estimate, persisted] = await Promise.all([
    readAll('models'),
    readAll('adapters'),
    readAll('runs'),
    navigator.storage.estimate(),
    navigator.storage.persisted(),
  ]);
  const modelBytes = distinctBytes(models.flatMap(({ files, webllm }) => [...files, ...filesOfCopy(webllm)]));
  const adapterBytes = distinctBytes([...adapters.flatMap(({ files }) => files), ...runs.flatMap(({ checkpoint }) => checkpoint ?? [])]);
  return {
    models: modelBytes,
    adapters: adapterBytes,
    records: Math.max(0, (estimate.usage ?? 0) - modelBytes - adapterBytes),
    persisted,
  };
}

/** Two models that share a file take its bytes once. */
function distinctBytes(files: readonly BlobRef[]): number {
  let total = 0;
  for (const bytes of new Map(files.map((file) => [file.sha256, file.bytes])).values()) total += bytes;
  return total;
}

/** Asks the browser not to clear this by itself: after the first thing worth keeping, never at load. Resolves with what it said. */
export async function askToKeep(): Promise<boolean> {
  if (await navigator.storage.persisted()) return true;
  const storage: StorageManager & { persist?(): Promise<boolean> } = navigator.storage;
  return (await storage.persist?.()) ?? false;
}
