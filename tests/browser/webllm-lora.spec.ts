// LoRA inside the real web-llm 0.2.86, unmerged, against our engine on the same shards; nothing leaves the page.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { expect, type Page, test } from '@playwright/test';
import { library, packed, packedShards, siteLibrary } from '../webllm/mlc-files.ts';
import { serveHarness } from './harness/serve.ts';

const root = path.resolve(import.meta.dirname, '../..');
const FOLDER = /^(config|generation_config|tokenizer|tokenizer_config)\.json$|^model\.safetensors$/;
const LLAMA = path.join(root, 'tests/fixtures/models/llama');
const Q4 = path.join(root, 'tests/fixtures/quant/llama/mlc_q4f32_1');
const VALE = path.join(root, 'public/models/vale-micro');
/** Of a logit: two programs that sum in another order. */
const TOLERANCE = 5e-3;
/** One token, a short prompt, one of two chunks. */
const PROMPTS = [1, 9, 150].map((length) => Array.from({ length }, (_, i) => 16 + ((i * 37) % 240)));
// A busy machine takes minutes for what takes seconds on a quiet one.
test.describe.configure({ timeout: 600_000 });
let address = '';
let close = async (): Promise<void> => undefined;
let outDir = '';
test.beforeAll(async () => {
  outDir = mkdtempSync(path.join(os.tmpdir(), 'maquette-webllm-lora-'));
  ({ address, close } = await serveHarness(outDir, path.join(root, 'tests/webllm/lora-page/index.html')));
});
test.afterAll(async () => {
  await close();
  rmSync(outDir, { recursive: true, force: true });
});
async function open(page: Page): Promise<void> {
  page.on('pageerror', (error) => console.log(`page error: ${error.message}`));
  await page.context().route('**/*', (route) => {
    const url = route.request().url();
    return url.startsWith(address) || url.startsWith('blob:') ? route.continue() : route.abort();
  });
  await page.goto(address);
  await page.waitForFunction(() => 'loraPage' in globalThis);
}

/** Runs it and says what it found. */
async function selfTest(page: Page) {
  const { test: result, seconds, key } = await page.evaluate(() => loraPage.selfTest());
  for (const { ok, name, found, allowed } of result.checks)
    console.log(`  ${ok ? 'ok    ' : 'FAILED'} ${name}: ${found.toPrecision(2)} (${allowed})`);
  console.log(`  ${seconds.toFixed(1)} s`);
  return { result, key };
}

test('LoRA on all seven linears of q4f32_1 shards: web-llm answers as our engine does, and without it as before', async ({ page }) => {
  await open(page);
  await page.evaluate((files) => loraPage.load(files), packedShards(Q4, library('llama-q4f32_1')));
  const { result, key } = await selfTest(page);
  expect(result).toMatchObject({ ok: true });
  expect(key).toContain('0.2.86');
  const before: number[][] = [];
  for (const prompt of PROMPTS) before.push(await page.evaluate((p) => loraPage.bits(p), prompt));

  const losses = await page.evaluate(() => loraPage.train('trained', 8, 30));
  console.log(`loss ${losses[0].toFixed(3)} to ${losses[29].toFixed(3)} in 30 steps`);
  expect(await page.evaluate(() => loraPage.add('trained'))).toBeGreaterThan(0);
  // Added and not in use.
  expect(await page.evaluate((p) => loraPage.bits(p), PROMPTS[1])).toEqual(before[1]);
  for (const [strength, prompt] of [...PROMPTS.map((p) => [1, p] as const), [0.5, PROMPTS[1]] as const, [1.5, PROMPTS[1]] as const]) {
    const { apart, fromBase } = await page.evaluate(([p, s]) => loraPage.compare([{ id: 'trained', strength: s }], p), [
      prompt,
      strength,
    ] as const);
    console.log(`strength ${strength}, ${prompt.length} tokens: ${apart.toExponential(1)} apart, ${fromBase.toFixed(2)} from the base`);
    expect(apart).toBeLessThan(TOLERANCE);
    expect(fromBase).toBeGreaterThan(strength < 1 ? 0.1 : 1);
  }
  const used = [{ id: 'trained', strength: 1 }];
  expect(await page.evaluate(([list, p]) => loraPage.compareEach(list, p), [used, PROMPTS[1]] as const)).toBeLessThan(TOLERANCE);
  const answers = await page.evaluate(([list, p]) => loraPage.answers(list, p, 32), [used, PROMPTS[1]] as const);
  expect(answers.ours).toHaveLength(32);
  expect(answers.inside).toEqual(answers.ours);
  const base = await page.evaluate((p) => loraPage.answers([], p, 32), PROMPTS[1]);
  expect(base.inside).toEqual(base.ours);
  expect(base.inside).not.toEqual(answers.inside);

  // A second one, of another rank, on top of it.
  await page.evaluate(async () => {
    loraPage.random('random', 3, 0.1, 11);
    await loraPage.add('random');
  });
  const both = [
    { id: 'random', strength: 0.75 },
    { id: 'trained', strength: 1 },
  ];
  for (const list of [both, [both[0]]]) {
    const { apart, fromBase } = await page.evaluate(([l, p]) => loraPage.compare(l, p), [list, PROMPTS[2]] as const);
    expect(apart).toBeLessThan(TOLERANCE);
    expect(fromBase).toBeGreaterThan(0.1);
  }
  const times = await page.evaluate(
    (lists) => loraPage.switches(lists),
    Array.from({ length: 12 }, (_, i) => [used, [both[0]], both, []][i % 4]),
  );
  const median = [...times].sort((a, b) => a - b)[times.length >> 1];
  console.log(`switching: median ${median.toFixed(2)} ms of ${times.length}`);
  expect(median).toBeLessThan(100);

  // Off, at strength 0, and removed: the same bits as before there was one.
  const same = async (n: number): Promise<void> => expect(await page.evaluate((p) => loraPage.bits(p), PROMPTS[n])).toEqual(before[n]);
  await page.evaluate(() => loraPage.useCode([]));
  for (const n of PROMPTS.keys()) await same(n);
  expect(await page.evaluate(() => loraPage.useCode([{ id: 'trained', strength: 0 }]))).toBe('');
  await same(1);
  expect(await page.evaluate((list) => loraPage.useCode(list), both)).toBe('');
  await page.evaluate(async () => {
    await loraPage.remove('trained');
    await loraPage.remove('random');
    await loraPage.remove('never there');
  });
  for (const n of PROMPTS.keys()) await same(n);

  expect(await page.evaluate((list) => loraPage.useCode(list), used)).toContain('webllm/adapter-unknown');
  await page.evaluate(() => loraPage.add('trained'));
  expect(await page.evaluate(() => loraPage.useCode([{ id: 'trained', strength: 1.6 }]))).toContain('webllm/adapter-strength');
  for (const change of ['base', 'module', 'shape'] as const)
    expect(await page.evaluate((c) => loraPage.addChanged('trained', c), change)).toContain(`webllm/adapter-${change}`);
  expect(await page.evaluate(() => loraPage.selfTestOf(2))).toContain('webllm/self-test-logits');
});

test('the self-test holds for q0f32, and for both schedules of the model of the site', { tag: '@long' }, async ({ page }) => {
  await open(page);
  const models = [
    await packed(LLAMA, FOLDER, library('llama-q0f32')),
    await packed(VALE, /\.gguf$/, siteLibrary('vale-micro', 'q0f32-software')),
    await packed(VALE, /\.gguf$/, siteLibrary('vale-micro', 'q0f32-gpu')),
  ];
  const keys = new Set<string>();
  for (const model of models) {
    await page.evaluate((files) => loraPage.load(files), model);
    const { result, key } = await selfTest(page);
    expect(result).toMatchObject({ ok: true });
    keys.add(key);
    await page.evaluate(() => loraPage.leave());
  }
  expect(keys.size).toBe(3);
});

test('a wrong input binding makes the self-test fail', async ({ page }) => {
  await open(page);
  const model = await packed(LLAMA, FOLDER, library('llama-q0f32'));
  await page.evaluate((files) => loraPage.load(files, true), model);
  const { result } = await selfTest(page);
  expect(result.ok).toBe(false);
  const failed = result.checks.filter(({ ok }) => !ok).map(({ name }) => name);
  for (const name of ['one token', 'short prompt', 'long prompt']) expect(failed).toContain(`${name}, random adapter against our engine`);
  expect(failed.filter((name) => name.includes('zero adapter'))).toEqual([]);
});

test('a kernel that is not known is refused by its name', async ({ page }) => {
  await open(page);
  const good = await packed(LLAMA, FOLDER, library('llama-q0f32'));
  await page.evaluate((files) => loraPage.load(files), { ...good, libraryGzip: unreadable(good.libraryGzip) });
  const { result } = await selfTest(page);
  expect(result).toMatchObject({ ok: false, unknown: { kernel: 'linear_kernel' } });
  await page.evaluate(async () => {
    loraPage.random('random', 2, 0.1, 3);
    await loraPage.add('random');
  });
  expect(await page.evaluate(() => loraPage.useCode([{ id: 'random', strength: 1 }]))).toBe('');
  expect(await page.evaluate(() => loraPage.lastLogitsCode())).toMatch(/^webllm\/unknown-kernel: .*linear_kernel/);
  expect(await page.evaluate(() => loraPage.useCode([]))).toBe('');
  expect(await page.evaluate(() => loraPage.lastLogitsCode())).toBe('');
});
/** The library with one kernel that starts its sums at 1: still WebGPU's language, and no product any more. */
function unreadable(libraryGzip: string): string {
  const text = gunzipSync(Buffer.from(libraryGzip, 'base64')).toString('latin1');
  const kernel = text.indexOf('// Function: linear_kernel\n');
  const zero = text.indexOf('= 0.000000e+00f;', kernel);
  if (kernel < 0 || zero < 0) throw new Error('the library has no such kernel');
  return gzipSync(Buffer.from(`${text.slice(0, zero)}= 1.000000e+00f;${text.slice(zero + 16)}`, 'latin1')).toString('base64');
}
