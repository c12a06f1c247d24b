// What the specs of one screen or one trouble share: a page with the small model and its twelve rows, and how an error is read off the screen.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { type Browser, type BrowserContext, expect, type Locator, type Page } from '@playwright/test';
import { addModel, goTo, pasteRows, setSetting, type TestModel } from './site.ts';

export const FIXTURES = path.resolve(import.meta.dirname, '../fixtures');
const MODEL_FILES = /^(config|generation_config|tokenizer|tokenizer_config)\.json$|^model.*\.safetensors(\.index\.json)?$/;

/** A model of 90 000 random weights: it says nothing, and runs as any other. */
export function smallModel(name = 'llama'): TestModel {
  const folder = path.join(FIXTURES, 'models', name);
  const files = readdirSync(folder).filter((file) => MODEL_FILES.test(file));
  return { name: `small ${name}`, files: files.map((file) => path.join(folder, file)), real: false };
}

export interface Opened {
  readonly context: BrowserContext;
  readonly page: Page;
}
/** A fresh browser profile with the site open; on the way `rows` become a task and `model` goes onto the GPU. */
export async function openSite(
  browser: Browser,
  given: { readonly model?: TestModel; readonly rows?: string } = {},
  baseURL?: string,
): Promise<Opened> {
  const context = await browser.newContext(baseURL === undefined ? {} : { baseURL, viewport: { width: 1440, height: 1000 } });
  const page = await context.newPage();
  page.on('pageerror', (error) => console.log(`page error: ${error.message}`));
  await page.goto('/');
  if (given.model !== undefined) await addModel(page, given.model);
  if (given.rows !== undefined) await pasteRows(page, given.rows);
  return { context, page };
}

/** Waits for a message with this code under "For a report" and returns the message. */
export async function expectCode(page: Page, code: string, timeout = 20_000): Promise<Locator> {
  const message = page.getByRole('group').filter({ has: page.locator('details p.mono', { hasText: code }) });
  await expect(message.first()).toBeVisible({ timeout });
  await message.first().getByText('For a report').click();
  await expect(message.first().locator('p.mono')).toContainText(code);
  await expect(message.first().getByRole('heading')).not.toBeEmpty();
  return message.first();
}

/** What the device keeps, read around the program: names of tasks and models, rows, runs, and OPFS files with their bytes. */
export interface Kept {
  readonly tasks: readonly string[];
  readonly models: readonly string[];
  readonly rows: number;
  readonly runs: readonly { readonly status: string; readonly checkpoint: boolean; readonly contestantId?: string }[];
  readonly contestants: readonly string[];
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}
export function kept(page: Page): Promise<Kept> {
  return page.evaluate(async () => {
    const done = <T>(request: IDBRequest<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const all = new Map<string, Record<string, unknown>[]>();
    if ((await indexedDB.databases()).some(({ name }) => name === 'maquette')) {
      const database = await done(indexedDB.open('maquette'));
      for (const store of database.objectStoreNames)
        all.set(store, await done<Record<string, unknown>[]>(database.transaction(store).objectStore(store).getAll()));
      database.close();
    }
    const files: { name: string; bytes: number }[] = [];
    const walk = async (folder: FileSystemDirectoryHandle): Promise<void> => {
      for await (const entry of folder.values()) {
        if (entry instanceof FileSystemDirectoryHandle) await walk(entry);
        // The copy of the records is no file of a person's.
        else if (entry instanceof FileSystemFileHandle && entry.name !== 'copy-of-records.json')
          files.push({ name: entry.name, bytes: (await entry.getFile()).size });
      }
    };
    // A file that is freed or renamed while the list is made is no error of the page's: the list is made again.
    for (let tries = 0; ; tries++) {
      try {
        files.length = 0;
        await walk(await navigator.storage.getDirectory());
        break;
      } catch (error) {
        if (!(error instanceof DOMException && error.name === 'NotFoundError') || tries === 20) throw error;
      }
    }
    const names = (store: string): string[] => (all.get(store) ?? []).map(({ name }) => String(name));
    return {
      tasks: names('tasks'),
      models: names('models'),
      rows: (all.get('datasets') ?? []).reduce((sum, { rows }) => sum + (Array.isArray(rows) ? rows.length : 0), 0),
      runs: (all.get('runs') ?? []).map(({ status, checkpoint, contestantId }) => ({
        status: String(status),
        checkpoint: checkpoint !== undefined,
        ...(typeof contestantId === 'string' ? { contestantId } : {}),
      })),
      contestants: names('contestants'),
      files,
    };
  });
}

/** Training that goes on for as long as a test needs. */
export async function startTraining(page: Page, settings: readonly (readonly [RegExp, string])[]): Promise<void> {
  await goTo(page, 'Train');
  for (const [name, value] of settings) await setSetting(page, name, value);
  await page.getByRole('button', { name: /^Train LoRA/ }).click();
  await expect(page.getByRole('button', { name: 'Stop and keep best' })).toBeVisible({ timeout: 30_000 });
}
