// What the app exports for web-llm runs without the app: a bare page, the npm package, and the exported files, which answer as our engine does, with the adapter
// and without.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from '@playwright/test';
import { memorySource } from '../../src/formats/bytes.ts';
import { openModel } from '../../src/formats/open-model.ts';
import { createTokenizer } from '../../src/text/tokenizer.ts';
import { randomLora, serveFiles, unzipTo } from '../webllm/bare.ts';
import { importModel, open, useHarness } from './harness/page.ts';

useHarness();
const root = path.resolve(import.meta.dirname, '../..');
const MODEL = path.join(root, 'public/models/vale-micro');
const read = (name: string): Buffer => readFileSync(path.join(MODEL, name));
const QUESTION = 'Where does the miller live?';
const OTHER = 'What is a basket made of?';
/** What is asked, and at which strength of the adapter. */
const ASKED: readonly (readonly [string, number])[] = [
  [QUESTION, 1],
  [OTHER, 1],
  [QUESTION, 0.5],
  [QUESTION, 0],
];
const LONGEST = 16;
/** Loading compiles 53 kernels, which takes a busy machine minutes. */
const PATIENCE = { timeout: 400_000 };

let folder = '';
test.beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'maquette-bare-'));
});
test.afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Puts an archive on the disk. */
async function written(name: string, base64: string): Promise<{ readonly place: string; readonly names: readonly string[] }> {
  const place = path.join(folder, name);
  mkdirSync(place);
  return { place, names: await unzipTo(place, new Uint8Array(Buffer.from(base64, 'base64'))) };
}

test('words and an adapter leave with their model, and answer in the npm package as in our engine, token for token', {
  tag: '@long',
}, async ({ page, browser }) => {
  test.setTimeout(900_000);
  const source = await openModel([memorySource('vale-micro.gguf', new Uint8Array(read('vale-micro.gguf')))]);
  const lora = [...randomLora(source.config, 4, 0.25)].map(([name, bytes]) => ({
    path: name,
    base64: Buffer.from(bytes).toString('base64'),
  }));
  await open(page);
  const modelId = await importModel(page, [{ path: 'vale-micro.gguf', base64: read('vale-micro.gguf').toString('base64') }]);
  const library = read('webllm/vale-micro-q0f32-software.wasm.gz').toString('base64');
  const made = await page.evaluate(
    async ({ id, gz, files, asked, maxTokens }) => {
      const api = maquette.engine();
      const signal = new AbortController().signal;
      const bytesOf = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const base64Of = async (blob: Blob): Promise<string> => {
        const all = new Uint8Array(await blob.arrayBuffer());
        const pieces: string[] = [];
        for (let at = 0; at < all.length; at += 0x8000) pieces.push(String.fromCharCode(...all.subarray(at, at + 0x8000)));
        return btoa(pieces.join(''));
      };
      const shares = { train: 0.5, validation: 0.5, test: 0 };
      const task = await maquette.createTask({ name: 'Bare', type: 'other', metricId: 'contains', seed: 7, shares, modelId: id, rows: [] });
      const shots = [{ id: 'shot', messages: [{ role: 'user' as const, content: 'What is hot?' }], targets: ['fire'] }];
      const words = { system: 'Answer in one word.', shots, cue: 'One word only.', extract: 'whole' as const };
      const prompt = await api.savePrompt(task.id, words);
      const picked = files.map(({ path: name, base64 }) => ({ path: name, file: new Blob([bytesOf(base64)]) }));
      const both = { ...(await api.importContestant(task.id, picked)), prompt: words };
      await maquette.saveContestant(both);
      const targetOf = async () => (await api.exportTargets(both.id)).find(({ format }) => format === 'webllm');
      const before = await targetOf();
      const refused = await api.exportContestant(both.id, 'webllm').then(
        () => 'exported',
        (error: unknown) => (error instanceof Error && 'code' in error ? error.code : String(error)),
      );
      await api.prepareWebllm(id, { path: 'vale-micro-q0f32-software.wasm.gz', file: new Blob([bytesOf(gz)]) }, () => undefined, signal);
      const target = await targetOf();
      const [ofWords, ofBoth] = [await api.exportContestant(prompt.id, 'webllm'), await api.exportContestant(both.id, 'webllm')];
      const answers: { text: string; tokens: number }[] = [];
      for (const [content, strength] of asked) {
        const messages = [{ role: 'user' as const, content }];
        const request = { contestantId: both.id, messages, strength, temperature: 0, topK: 0, topP: 1, seed: 1, maxTokens };
        const { text, replyTokens, end } = await api.chat(request, () => undefined, signal);
        answers.push({ text, tokens: replyTokens - (end === 'stop-token' ? 1 : 0) });
      }
      return { before, refused, target, words: await base64Of(ofWords.content), both: await base64Of(ofBoth.content), answers };
    },
    { id: modelId, gz: library, files: lora, asked: ASKED, maxTokens: LONGEST },
  );
  await page.close();
  expect([made.before?.needs, made.refused]).toEqual(['library', 'webllm/not-prepared']);
  expect(made.target?.needs).toBeUndefined();
  // The size that was stated before, about: the library is kept gzipped, and leaves as it runs.
  const stated = (made.target?.bytes ?? 0) / Buffer.from(made.both, 'base64').length;
  expect(stated).toBeGreaterThan(0.5);
  expect(stated).toBeLessThan(1.5);
  const texts = made.answers.map(({ text }) => text);
  expect(texts[0]).not.toBe(texts[3]);

  const words = await written('words', made.words);
  expect(words.names).not.toContain('maquette-webllm.js');
  expect(readFileSync(path.join(words.place, 'main.js'), 'utf8')).not.toContain('maquette-webllm');
  const { place, names } = await written('both', made.both);
  for (const name of [
    'README.txt',
    'index.html',
    'main.js',
    'record.json',
    'prompt.json',
    'library.wasm',
    'library-LICENSE.txt',
    'maquette-webllm.js',
  ]) {
    expect(names).toContain(name);
  }
  for (const name of ['factors.json', 'adapter_config.json', 'adapter_model.safetensors']) expect(names).toContain(`adapter/${name}`);
  expect(readFileSync(path.join(place, 'maquette-webllm.js'), 'utf8')).toContain('loadWithAdapters');

  const { address, close } = await serveFiles(place);
  const context = await browser.newContext();
  const bare = await context.newPage();
  const foreign: string[] = [];
  bare.on('pageerror', (error) => console.log(`page error: ${error.message}`));
  await context.route('**/*', (route) => {
    const url = route.request().url();
    if (/^(blob|data):/.test(url) || url.startsWith(address)) return route.continue();
    foreign.push(url);
    return route.abort();
  });
  await bare.goto(address);
  await expect(bare.getByRole('status')).toHaveText('Ready', PATIENCE);
  // The devices that the page asks for itself are none of the adapter's.
  expect(await bare.evaluate(() => GPUAdapter.prototype.requestDevice.toString())).toContain('[native code]');
  const tokenizer = createTokenizer(source.tokenizer);
  const got: { text: string; tokens: number }[] = [];
  for (const [question, strength] of ASKED) {
    const { ids, text } = await bare.evaluate(
      async ([asked, at, longest]) => {
        const main = await import(`${location.origin}/main.js`);
        await main.setStrength(at);
        const answered: string = await main.answer(asked, longest);
        const [pipeline] = main.engine.loadedModelIdToPipeline.values();
        return { text: answered, ids: Array.from<number>(pipeline.outputIds) };
      },
      [question, strength, LONGEST] as const,
    );
    const own = ids.filter((id) => !source.config.stopIds.includes(id));
    expect(text).toBe(tokenizer.decode(own));
    got.push({ text, tokens: own.length });
  }
  expect(got).toEqual(made.answers);
  // The page that comes along, as a person uses it: it lets an answer be longer than the one that it is held against.
  await bare.getByLabel('Input').fill(QUESTION);
  await bare.getByRole('button', { name: 'Answer' }).click();
  await expect(bare.getByRole('button', { name: 'Answer' })).toBeEnabled(PATIENCE);
  expect((await bare.locator('#answer').textContent())?.startsWith(texts[0])).toBe(true);
  expect(foreign).toEqual([]);
  await context.close();
  await close();
});
