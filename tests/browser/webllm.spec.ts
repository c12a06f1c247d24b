// The real web-llm 0.2.86 in the browser, with libraries built by `npm run webllm:library` and the network blocked.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, type Page, test } from '@playwright/test';
import { beside, library, numbers, packed, packedShards, siteLibrary } from '../webllm/mlc-files.ts';
import { serveHarness } from './harness/serve.ts';

const root = path.resolve(import.meta.dirname, '../..');
/** The files of a Hugging Face folder. */
const FOLDER = /^(config|generation_config|tokenizer|tokenizer_config)\.json$|^model\.safetensors$/;
const LLAMA = path.join(root, 'tests/fixtures/models/llama');
let address = '';
let close = async (): Promise<void> => undefined;
let outDir = '';
test.beforeAll(async () => {
  outDir = mkdtempSync(path.join(os.tmpdir(), 'maquette-webllm-'));
  ({ address, close } = await serveHarness(outDir, path.join(root, 'tests/webllm/page/index.html')));
});
test.afterAll(async () => {
  await close();
  rmSync(outDir, { recursive: true, force: true });
});

/** Opens the page; from then on only the site's own files are served, and every other request is counted. */
async function open(page: Page): Promise<string[]> {
  const foreign: string[] = [];
  page.on('pageerror', (error) => console.log(`page error: ${error.message}`));
  await page.context().route('**/*', (route) => {
    const url = route.request().url();
    if (url.startsWith(address) || url.startsWith('blob:')) return route.continue();
    foreign.push(url);
    return route.abort();
  });
  await page.goto(address);
  await page.waitForFunction(() => 'webllmPage' in globalThis);
  return foreign;
}

test('the llama fixture answers as the oracle, token for token, without a request', async ({ page }) => {
  const foreign = await open(page);
  const loaded = await page.evaluate((files) => webllmPage.load(files), await packed(LLAMA, FOLDER, library('llama-q0f32')));
  expect(loaded).toEqual({ context: 256, chunk: 128, vocabulary: 288 });
  const file = path.join(LLAMA, 'expected.safetensors');
  for (const n of [0, 1]) {
    const prompt = Array.from(numbers(file, `input_ids.${n}`));
    const expected = Array.from(numbers(file, `greedy.${n}`));
    const { ids, end } = await page.evaluate((p) => webllmPage.greedy(p, 32), prompt);
    expect(ids).toEqual(expected);
    expect(end).toBe('length');
    const stopped = await page.evaluate(([p, stop]) => webllmPage.greedy(p, 32, stop), [prompt, [expected[5]]] as const);
    expect(stopped).toEqual({ ids: expected.slice(0, expected.indexOf(expected[5])), end: 'stop' });
  }
  const prompt = Array.from(numbers(file, 'input_ids.0'));
  // Stop is on its way to the worker while the next token is drawn.
  const stopped = await page.evaluate((p) => webllmPage.stopped(p, 3), prompt);
  expect(stopped.end).toBe('aborted');
  expect(stopped.count).toBeGreaterThanOrEqual(3);
  expect(stopped.count).toBeLessThan(50);
  expect(await page.evaluate((p) => webllmPage.stopped(p, 0), prompt)).toEqual({ end: 'aborted', count: 0 });
  // Longer than a chunk: as one token after the other.
  const long = Array.from({ length: 200 }, (_, i) => (i * 37) % 256);
  const [chunked, single] = await page.evaluate(async (p) => [await webllmPage.lastLogits(p), await webllmPage.logits(p)], long);
  const last = single.slice(-288);
  expect(Math.max(...chunked.map((logit, i) => Math.abs(logit - last[i])))).toBeLessThan(1e-3);
  await page.evaluate(() => webllmPage.leaveWebllm());
  const again = await page.evaluate((files) => webllmPage.load(files), await packed(LLAMA, FOLDER, library('llama-q0f32')));
  expect(again.vocabulary).toBe(288);
  expect(foreign).toEqual([]);
});

test('q4f32_1 shards give the logits of their own rounded weights', async ({ page }) => {
  const folder = beside('quant/llama/mlc_q4f32_1');
  test.skip(folder === undefined, 'the fixtures beside the project are not here');
  if (folder === undefined) return;
  const foreign = await open(page);
  await page.evaluate((files) => webllmPage.load(files), packedShards(folder, library('llama-q4f32_1')));
  const file = path.join(folder, 'expected.safetensors');
  const tokens = Array.from(numbers(file, 'input_ids'));
  const expected = numbers(file, 'logits');
  const got = await page.evaluate((t) => webllmPage.logits(t), tokens);
  expect(got.length).toBe(expected.length);
  const worst = got.reduce((most, logit, i) => Math.max(most, Math.abs(logit - expected[i])), 0);
  console.log(`q4f32_1: largest difference of a logit ${worst.toExponential(1)}`);
  expect(worst).toBeLessThan(5e-3);
  expect(foreign).toEqual([]);
});

test('stories260k tells the stories of the oracle', async ({ page }) => {
  const folder = beside('stories260k');
  test.skip(folder === undefined, 'the fixtures beside the project are not here');
  if (folder === undefined) return;
  const foreign = await open(page);
  await page.evaluate((files) => webllmPage.load(files), await packed(folder, FOLDER, library('stories260k-q0f32')));
  const { ids, greedy } = story(folder);
  const got = await page.evaluate((p) => webllmPage.greedy(p, 64), ids);
  expect(got.ids).toEqual(greedy);
  expect(foreign).toEqual([]);
});
function story(folder: string): { readonly ids: readonly number[]; readonly greedy: readonly number[] } {
  const [first] = JSON.parse(readFileSync(path.join(folder, 'expected.json'), 'utf8')).prompts;
  return { ids: first.input_ids, greedy: first.greedy };
}

test('both libraries of the model of the site answer alike: one thread an output, and tiled', { tag: '@long' }, async ({ page }) => {
  const foreign = await open(page);
  const folder = path.join(root, 'public/models/vale-micro');
  const long = Array.from({ length: 150 }, (_, i) => 16 + ((i * 37) % 1900));
  const answers: { readonly last: readonly number[]; readonly ids: readonly number[] }[] = [];
  for (const schedule of ['software', 'gpu']) {
    const files = await packed(folder, /\.gguf$/, siteLibrary('vale-micro', `q0f32-${schedule}`));
    const loaded = await page.evaluate((all) => webllmPage.load(all), files);
    expect(loaded).toEqual({ context: 512, chunk: 128, vocabulary: 2048 });
    answers.push(
      await page.evaluate(
        async (p) => ({ last: await webllmPage.lastLogits(p), ids: (await webllmPage.greedy(p.slice(0, 20), 8)).ids }),
        long,
      ),
    );
    await page.evaluate(() => webllmPage.leaveWebllm());
  }
  const [plain, tiled] = answers;
  const worst = plain.last.reduce((most, logit, i) => Math.max(most, Math.abs(logit - tiled.last[i])), 0);
  console.log(`two schedules, 150 tokens: largest difference of a logit ${worst.toExponential(1)}`);
  // Another order of summation in f32; logits reach 20.
  expect(worst).toBeLessThan(1e-3);
  expect(new Set(plain.last).size).toBeGreaterThan(1000);
  expect(tiled.ids).toEqual(plain.ids);
  expect(foreign).toEqual([]);
});
