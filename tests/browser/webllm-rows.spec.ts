// Rows of the site's samples, answered by both runtimes on the same weights: the same tokens, or another only where the two best are as good as equal.
// 8 rows in `npm test`; `npm run test:webllm` asks 40 (MAQUETTE_WEBLLM_ROWS).
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from '@playwright/test';
import { memorySource } from '../../src/formats/bytes.ts';
import { openModel } from '../../src/formats/open-model.ts';
import { renderTemplate } from '../../src/text/chat-template.ts';
import { createPromptRenderer } from '../../src/text/prompt.ts';
import { createTokenizer } from '../../src/text/tokenizer.ts';
import { packed, siteLibrary } from '../webllm/mlc-files.ts';
import { serveHarness } from './harness/serve.ts';

const root = path.resolve(import.meta.dirname, '../..');
const MODEL = path.join(root, 'public/models/vale-micro');
const ROWS = Number(process.env.MAQUETTE_WEBLLM_ROWS ?? 8);
const SAMPLES = ['vale-two-teams', 'vale-json-answers', 'vale-house-summaries', 'vale-pirate-notes'];
const LONGEST = 32;
/** Two logits as good as equal: sums in another order may then turn them round. */
const AS_GOOD_AS_EQUAL = 1e-2;

let address = '';
let close = async (): Promise<void> => undefined;
let outDir = '';
test.beforeAll(async () => {
  outDir = mkdtempSync(path.join(os.tmpdir(), 'maquette-both-'));
  ({ address, close } = await serveHarness(outDir, path.join(root, 'tests/webllm/both-page/index.html')));
});
test.afterAll(async () => {
  await close();
  rmSync(outDir, { recursive: true, force: true });
});

/** Inputs of the samples, as many of each. */
function inputs(): readonly string[] {
  const each = Math.ceil(ROWS / SAMPLES.length);
  return SAMPLES.flatMap((name) =>
    readFileSync(path.join(root, `public/samples/${name}.jsonl`), 'utf8')
      .split('\n')
      .slice(0, each)
      .map((line) => String(JSON.parse(line).prompt)),
  ).slice(0, ROWS);
}

test(`${ROWS} rows of the samples are answered alike by our engine and by web-llm`, async ({ page }) => {
  test.setTimeout(600_000 + ROWS * 10_000);
  const source = await openModel([memorySource('vale-micro.gguf', new Uint8Array(readFileSync(path.join(MODEL, 'vale-micro.gguf'))))]);
  const renderer = createPromptRenderer({
    tokenizer: createTokenizer(source.tokenizer),
    spec: source.tokenizer,
    config: source.config,
    templates: { render: async (template, context) => renderTemplate(template, context) },
  });
  page.on('pageerror', (error) => console.log(`page error: ${error.message}`));
  await page.goto(address);
  await page.waitForFunction(() => 'bothRuntimes' in globalThis);
  const files = await packed(MODEL, /\.gguf$/, siteLibrary('vale-micro', 'q0f32-software'));
  await page.evaluate(
    async ([model, config]) => {
      await bothRuntimes.open(model, config);
      await bothRuntimes.loadOwn();
    },
    [files, JSON.stringify({ ...source.tokenizer.config, chat_template: source.tokenizer.chatTemplate })] as const,
  );
  const texts = inputs();
  expect(texts.length).toBe(ROWS);
  let equal = 0;
  let tokens = 0;
  for (const text of texts) {
    const prompt = Array.from(await renderer.prompt([{ role: 'user', content: text }]));
    const answered = await page.evaluate(([ids, longest, stops]) => bothRuntimes.answer(Uint32Array.from(ids), longest, stops), [
      prompt,
      LONGEST,
      renderer.stopIds,
    ] as const);
    expect(answered.ours.length, text).toBeGreaterThan(0);
    tokens += answered.ours.length;
    if (answered.margin === undefined) equal++;
    else expect(answered.margin, `${text}: ${answered.ours.join(' ')} and ${answered.theirs.join(' ')}`).toBeLessThan(AS_GOOD_AS_EQUAL);
  }
  console.log(
    `${equal} of ${ROWS} rows equal in all of their ${tokens} tokens; ${ROWS - equal} part where the two best logits are within ${AS_GOOD_AS_EQUAL}`,
  );
});
