// web-llm's store in the origin's private file system, written by us: what it would fetch is there before it looks, under an address that nobody answers. The
// files are there while a model is loaded and no longer.
import { AppError } from '../lib/error.ts';

export const STORE = 'tvmjs-opfs-store';
const LOCK = 'maquette web-llm store';
const TRIES = 5;

/** Runs `use` while no other tab of this site has files in the store, and leaves nothing there, however it ends. @throws AbortError */
export async function withStore<T>(signal: AbortSignal, onWait: () => void, use: () => Promise<T>): Promise<T> {
  const wait = setTimeout(onWait, 500);
  try {
    return await navigator.locks.request(LOCK, { signal }, async () => {
      clearTimeout(wait);
      await clearStore();
      // What cannot be taken out now is taken out before the next load; it is no reason why this one failed.
      return use().finally(() => clearStore().catch(() => undefined));
    });
  } finally {
    clearTimeout(wait);
  }
}

/** Takes out what a tab or a worker left behind that ended while it loaded; after a load that is going on. */
export async function tidyStore(): Promise<void> {
  await navigator.locks.request(LOCK, clearStore);
}

/** Takes everything out, what an earlier tab left behind too. */
export async function clearStore(): Promise<void> {
  const root = await navigator.storage.getDirectory();
  for (let tries = 1; ; tries++) {
    try {
      await root.removeEntry(STORE, { recursive: true });
      return;
    } catch (error) {
      if (error instanceof DOMException && error.name === 'NotFoundError') return;
      if (tries === TRIES) throw notEmptied(error);
    }
    // A worker that has just ended may still be reading.
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function notEmptied(error: unknown): AppError {
  return new AppError('webllm/store', "Web-llm's store on this device could not be emptied.", {
    why: error instanceof Error ? error.message : String(error),
    fix: 'Close other tabs of this site, then load the model again.',
    cause: error,
  });
}
