// What specs over the harness share: serving it, opening it, and a small model's files.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Page, test } from '@playwright/test';
import { serveHarness } from './serve.ts';

const SHARED = path.resolve(import.meta.dirname, '../../../../shared/fixtures/stories260k');
/** Random weights, with a chat template. */
export const OWN = path.resolve(import.meta.dirname, '../../fixtures/models/llama');
/** Real weights where they are there, else random ones. */
export const MODEL = existsSync(SHARED) ? SHARED : OWN;

let address = '';
export const harnessAddress = (): string => address;

/** Builds and serves the harness for the specs of one file. */
export function useHarness(): void {
  let close: () => Promise<void> = async () => undefined;
  let outDir = '';
  test.beforeAll(async () => {
    outDir = mkdtempSync(path.join(os.tmpdir(), 'maquette-harness-'));
    const served = await serveHarness(outDir);
    address = served.address;
    close = served.close;
  });
  test.afterAll(async () => {
    await close();
    rmSync(outDir, { recursive: true, force: true });
  });
}

export async function open(page: Page): Promise<void> {
  page.on('pageerror', (error) => console.log(`page error: ${error.message}`));
  await page.goto(address);
  await page.waitForFunction(() => 'maquette' in globalThis);
}

/** The model's files as the page would have them from a file picker. */
export function modelFiles(folder = MODEL): { readonly path: string; readonly base64: string }[] {
  return readdirSync(folder)
    .filter((name) => /^(config|generation_config|tokenizer|tokenizer_config)\.json$|^model\.safetensors$/.test(name))
    .map((name) => ({ path: `model/${name}`, base64: readFileSync(path.join(folder, name)).toString('base64') }));
}
export type Files = readonly { readonly path: string; readonly base64: string }[];
export async function importModel(page: Page, chosen: Files = modelFiles()): Promise<string> {
  return page.evaluate(async (files) => {
    const picked = files.map(({ path, base64 }) => ({ path, file: new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))]) }));
    const api = maquette.engine();
    const signal = new AbortController().signal;
    const record = await api.importModel(picked, 'Small model', 'f32', () => undefined, signal);
    await api.loadModel(record.id, () => undefined, signal);
    return record.id;
  }, chosen);
}
