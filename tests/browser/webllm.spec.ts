// The real web-llm 0.2.86 in the browser, with libraries built by `npm run webllm:library` and the network blocked.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, type Page, test } from '@playwright/test';
import { beside, numbers, packed } from '../webllm/mlc-files.ts';
import { serveHarness } from './harness/serve.ts';

const root = path.resolve(import.meta.dirname, '../..');
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
  page.on('console', (message) => console.log(message.text()));
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
  const loaded = await page.evaluate((files) => webllmPage.load(files), packed(LLAMA, 'llama-q0f32'));
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
  expect(await page.evaluate((p) => webllmPage.stopped(p, 3), prompt)).toEqual({ end: 'aborted', count: 3 });
  expect(await page.evaluate((p) => webllmPage.stopped(p, 0), prompt)).toEqual({ end: 'aborted', count: 0 });
  // Longer than a chunk: as one token after the other.
  const long = Array.from({ length: 200 }, (_, i) => (i * 37) % 256);
  const [chunked, single] = await page.evaluate(async (p) => [await webllmPage.lastLogits(p), await webllmPage.logits(p)], long);
  const last = single.slice(-288);
  expect(Math.max(...chunked.map((logit, i) => Math.abs(logit - last[i])))).toBeLessThan(1e-3);
  await page.evaluate(() => webllmPage.leaveWebllm());
  const again = await page.evaluate((files) => webllmPage.load(files), packed(LLAMA, 'llama-q0f32'));
  expect(again.vocabulary).toBe(288);
  expect(foreign).toEqual([]);
});

test('stories260k tells the stories of the oracle', async ({ page }) => {
  const folder = beside('stories260k');
  test.skip(folder === undefined, 'the fixtures beside the project are not here');
  if (folder === undefined) return;
  const foreign = await open(page);
  await page.evaluate((files) => webllmPage.load(files), packed(folder, 'stories260k-q0f32'));
  const { ids, greedy } = story(folder);
  const got = await page.evaluate((p) => webllmPage.greedy(p, 64), ids);
  expect(got.ids).toEqual(greedy);
  expect(foreign).toEqual([]);
});
function story(folder: string): { readonly ids: readonly number[]; readonly greedy: readonly number[] } {
  const [first] = JSON.parse(readFileSync(path.join(folder, 'expected.json'), 'utf8')).prompts;
  return { ids: first.input_ids, greedy: first.greedy };
}

test('files that do not fit are refused with a code, and the next load works', async ({ page }) => {
  await open(page);
  const good = packed(LLAMA, 'llama-q0f32');
  const library = packed(LLAMA, 'llama-q4f32_1').libraryGzip;
  const noWasm = 'H4sIAAAAAAACA8tIzcnJBwCGphA2BQAAAA==';
  const cases: readonly (readonly [Partial<typeof good>, string])[] = [
    [{ shards: [] }, 'mlc/shards-missing'],
    [{ libraryGzip: noWasm }, 'mlc/library-not-wasm'],
    [{ libraryGzip: library }, 'mlc/library-shape'],
  ];
  for (const [change, code] of cases) expect(await page.evaluate((files) => webllmPage.refused(files), { ...good, ...change })).toBe(code);
  const loaded = await page.evaluate((files) => webllmPage.load(files), good);
  expect(loaded.vocabulary).toBe(288);
});
