// Everything this site ever kept in this browser, gone.
import { deleteDB } from 'idb';
import { notify } from './changes.ts';
import { asStorageError, blockedByOtherTab } from './errors.ts';
import { closeDatabase, DATABASE_NAME } from './schema.ts';

/** IndexedDB, OPFS, caches, and local storage where this context has it. @throws 'storage/blocked', 'storage/in-use' */
export async function eraseEverything(): Promise<void> {
  closeDatabase();
  try {
    await new Promise<void>((resolve, reject) => {
      // Tabs let go of the database when they are asked; one that does not within 3 s is named.
      let timer: ReturnType<typeof setTimeout> | undefined;
      const gone = deleteDB(DATABASE_NAME, {
        blocked() {
          timer = setTimeout(() => reject(blockedByOtherTab()), 3000);
        },
      });
      gone.then(resolve, reject).finally(() => clearTimeout(timer));
    });
    const root = await navigator.storage.getDirectory();
    for await (const name of root.keys()) await root.removeEntry(name, { recursive: true });
    if (typeof caches !== 'undefined') for (const name of await caches.keys()) await caches.delete(name);
    clearLocalStorage();
  } catch (error) {
    throw asStorageError(error);
  }
  notify('all', '');
}

/** Workers have none; a page that erases through a worker calls this itself. */
export function clearLocalStorage(): void {
  const local: unknown = Reflect.get(globalThis, 'localStorage');
  if (typeof local === 'object' && local !== null && 'clear' in local && typeof local.clear === 'function') local.clear();
}
