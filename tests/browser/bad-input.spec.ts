// Input that cannot be used gets a message with a code, in words a person can act on, and nothing that was there is lost.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, type Page, test } from '@playwright/test';
import { zipSync } from 'fflate';
import { picture } from '../support/picture.ts';
import { expectCode, FIXTURES, kept, type Opened, openSite, smallModel } from '../support/screens.ts';
import { addModel, ask, boardRow, goTo, pasteRows, ROWS, setSetting } from '../support/site.ts';

interface Picked {
  readonly name: string;
  readonly mimeType: string;
  readonly buffer: Buffer;
}
const picked = (name: string, content: string | Uint8Array): Picked => ({
  name,
  mimeType: 'application/octet-stream',
  buffer: Buffer.from(content),
});
/** The small model's files, some of them replaced or, with undefined, left out. */
function filesWith(changes: Readonly<Record<string, Buffer | string | undefined>>): Picked[] {
  return smallModel().files.flatMap((file) => {
    const name = path.basename(file);
    if (!(name in changes)) return [picked(name, readFileSync(file))];
    const change = changes[name];
    return change === undefined ? [] : [picked(name, change)];
  });
}
const own = (name: string): Buffer => readFileSync(path.join(FIXTURES, 'models/llama', name));
const json = (name: string): Record<string, unknown> => JSON.parse(own(name).toString());

async function offer(page: Page, files: Picked[]): Promise<void> {
  await goTo(page, 'Models');
  await page.setInputFiles('[data-pick="files"]', files);
}

test.describe.configure({ mode: 'serial' });

test.describe('files of a model', () => {
  let opened: Opened;
  test.beforeAll(async ({ browser }) => {
    opened = await openSite(browser, { model: smallModel(), rows: ROWS });
  });
  test.afterAll(async () => {
    const after = await kept(opened.page);
    expect(after.models).toEqual([smallModel().name]);
    expect(after.rows).toBe(12);
    await opened.context.close();
  });

  const qwen = path.resolve(FIXTURES, '../../../shared/fixtures/models/qwen2/config.json');
  const config = json('config.json');
  const other = existsSync(qwen)
    ? readFileSync(qwen, 'utf8')
    : JSON.stringify({ ...config, model_type: 'qwen2', architectures: ['Qwen2ForCausalLM'] });
  const weights = own('model.safetensors');
  const tokenizer = json('tokenizer.json');
  const shorter = { ...tokenizer, model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] }, added_tokens: [] };
  const cases: readonly { readonly what: string; readonly files: Picked[]; readonly code: string; readonly says: RegExp }[] = [
    {
      what: 'a missing file is named',
      files: filesWith({ 'tokenizer.json': undefined }),
      code: 'model/missing-files',
      says: /tokenizer\.json/,
    },
    { what: 'files that are no model', files: [picked('notes.txt', 'hello')], code: 'model/missing-files', says: /\.gguf/ },
    {
      what: 'a tokenizer of another model',
      files: filesWith({ 'tokenizer.json': JSON.stringify(shorter) }),
      code: 'model/tokenizer-mismatch',
      says: /288/,
    },
    {
      what: 'an architecture that is not run here',
      files: filesWith({ 'config.json': other }),
      code: 'model/unsupported-architecture',
      says: /qwen2/i,
    },
    {
      what: 'safetensors that were cut',
      files: filesWith({ 'model.safetensors': weights.subarray(0, weights.length - 1000) }),
      code: 'format/truncated',
      says: /model\.safetensors/,
    },
    {
      what: 'safetensors whose tensors overlap',
      files: filesWith({ 'model.safetensors': readFileSync(path.join(FIXTURES, 'bad/bad_overlap.safetensors')) }),
      code: 'format/overlap',
      says: /./,
    },
    {
      what: 'a GGUF that was cut',
      files: [picked('bad_truncated.gguf', readFileSync(path.join(FIXTURES, 'bad/bad_truncated.gguf')))],
      code: 'format/',
      says: /bad_truncated/,
    },
    {
      what: 'a GGUF with a name twice',
      files: [picked('bad_dup_key.gguf', readFileSync(path.join(FIXTURES, 'bad/bad_dup_key.gguf')))],
      code: 'format/',
      says: /./,
    },
    {
      what: 'a configuration that is no JSON',
      files: filesWith({ 'config.json': '<!doctype html>' }),
      code: 'format/json',
      says: /config\.json/,
    },
    {
      what: 'weights of another shape than the configuration',
      files: filesWith({ 'config.json': JSON.stringify({ ...config, hidden_size: 128 }) }),
      code: 'model/shape-mismatch',
      says: /128/,
    },
  ];
  for (const { what, files, code, says } of cases) {
    test(what, async () => {
      const { page } = opened;
      await offer(page, files);
      const message = await expectCode(page, code);
      await expect(message).toContainText(says);
      await picture(page, `bad-${what.toLowerCase().replaceAll(/[^a-z]+/g, '-')}`);
      await expect(page.getByRole('button', { name: /^Keep .* on this device$/ })).toBeHidden();
      // What was there goes on.
      await expect(page.getByRole('row', { name: new RegExp(smallModel().name) })).toContainText('on the GPU');
    });
  }
});

test('a chat template that never ends is ended, and the page goes on', async ({ browser }) => {
  const { context, page } = await openSite(browser);
  const endless = '{% for a in range(3000) %}{% for b in range(30000) %}{% endfor %}{% endfor %}x';
  const files = filesWith({ 'tokenizer_config.json': JSON.stringify({ ...json('tokenizer_config.json'), chat_template: endless }) });
  await offer(page, files);
  await page.getByLabel('Name').fill('endless');
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  await expect(page.getByRole('row', { name: /endless/ })).toContainText('on the GPU', { timeout: 60_000 });
  await goTo(page, 'Chat');
  for (let i = 0; i < 2; i++) {
    await page.getByLabel(/^Message/).fill('Hi');
    await page.keyboard.press('Control+Enter');
    await expect(page.locator('.turn').nth(i)).toContainText('template/timeout', { timeout: 15_000 });
    await expect(page.locator('.turn').nth(i)).toContainText('did not come to an end');
  }
  await picture(page, 'bad-template-that-never-ends');
  await addModel(page, smallModel());
  await goTo(page, 'Chat');
  await page.reload();
  await goTo(page, 'Chat');
  await context.close();
});

test.describe('adapters, rows and runs', () => {
  let opened: Opened;
  test.beforeAll(async ({ browser }) => {
    opened = await openSite(browser, { model: smallModel(), rows: ROWS });
  });
  test.afterAll(() => opened.context.close());

  test('an adapter for another base is refused with the shapes that do not fit', async () => {
    const { page } = opened;
    await goTo(page, 'Export');
    await page.setInputFiles('[data-pick="contestant"]', otherAdapter());
    const message = await expectCode(page, 'adapter/other-base');
    await expect(message).toContainText(/base|model/i);
    await picture(page, 'bad-adapter-of-another-base');
    await message.getByRole('button', { name: 'Close' }).click();
    expect((await kept(page)).contestants).toEqual([]);
  });

  test('an archive that is no archive is refused', async () => {
    const { page } = opened;
    await goTo(page, 'Export');
    const whole = Buffer.from(zipSync({ 'adapter_config.json': new TextEncoder().encode('{}'.repeat(400)) }, { level: 0 }));
    await page.setInputFiles('[data-pick="contestant"]', [picked('adapter.zip', whole.subarray(0, whole.length / 2))]);
    const message = await expectCode(page, 'zip/');
    await message.getByRole('button', { name: 'Close' }).click();
    await page.setInputFiles('[data-pick="contestant"]', [picked('adapter.zip', 'PK, or not')]);
    await expectCode(page, 'zip/');
    await picture(page, 'bad-archive');
  });

  test('an empty file and a paste of nothing but blanks', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    await page.getByRole('button', { name: 'Add rows', exact: true }).click();
    await page.getByLabel('File of rows').setInputFiles([picked('rows.csv', '')]);
    await expectCode(page, 'data/empty');
    await page.getByRole('button', { name: 'Start again' }).click();
    await page.getByLabel('File of rows').setInputFiles([picked('rows.jsonl', '\n\n')]);
    await expectCode(page, 'data/empty');
    await page.getByRole('button', { name: 'Start again' }).click();
    await page.getByLabel('File of rows').setInputFiles([picked('model.gguf', 'GGUF')]);
    await expectCode(page, 'data/is-model');
    await picture(page, 'bad-rows-that-are-a-model');
    await page.getByRole('button', { name: 'Start again' }).click();
    expect((await kept(page)).rows).toBe(12);
  });

  test('columns of one name stay two, and lines of other lengths are named', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    const add = page.getByRole('button', { name: 'Add rows', exact: true });
    if (await add.isVisible()) await add.click();
    const csv = 'question,answer,answer\nWhat is one?,1,one\nWhat is two?,2\nWhat is three?,3,three,drei\nWhat is four?,4,four\n';
    await page.getByLabel('File of rows').setInputFiles([picked('ragged.csv', csv)]);
    const found = page.getByRole('list', { name: 'Found while reading' });
    await expect(found).toContainText('Line 3 of ragged.csv has two columns');
    await expect(found).toContainText('Line 4 of ragged.csv has four columns');
    await expect(found).toContainText('More than one column is named "answer"');
    await expect(page.getByLabel('Role of column answer (2)')).toBeVisible();
    await expect(page.getByText(/2 rows read, 2 rows can be used/)).toBeVisible();
    await picture(page, 'bad-ragged-columns');
    await page.getByRole('button', { name: 'Cancel' }).click();
  });

  test('rows longer than the context are counted on Data and before training, and never cut', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    const add = page.getByRole('button', { name: 'Add rows', exact: true });
    if (await add.isVisible()) await add.click();
    const long = Array.from({ length: 8 }, (_, i) => `Long ${i}: ${'tell me all of it '.repeat(40)}\tNo.`).join('\n');
    await page.getByLabel('Paste from a spreadsheet').fill(long);
    await page.getByRole('button', { name: 'Read the rows' }).click();
    await page.getByRole('button', { name: /^Add 8 rows/ }).click();
    await expect(page.getByText(/^Longer than \d+ tokens$/)).toBeVisible();
    await expect(page.getByText('Left out of training; nothing is cut.')).toBeVisible();
    const listed = page.getByRole('listitem').filter({ hasText: 'Left out of training; nothing is cut.' });
    await expect(listed).toContainText('8');
    await picture(page, 'bad-rows-too-long');
    await goTo(page, 'Train');
    await expect(page.getByText(/training rows? (is|are) longer than 256 tokens and will be left out, not cut/)).toBeVisible({
      timeout: 30_000,
    });
  });

  test('a message longer than the context is refused with both numbers', async () => {
    const { page } = opened;
    await goTo(page, 'Chat');
    await page.getByLabel(/^Message/).fill('word '.repeat(800));
    await page.keyboard.press('Control+Enter');
    const turn = page.locator('.turn').last();
    await expect(turn).toContainText('text/too-long', { timeout: 20_000 });
    await expect(turn).toContainText('256');
    await picture(page, 'bad-message-too-long');
    await page.getByRole('button', { name: 'Start anew' }).click();
    await page.getByLabel('Longest answer').fill('8');
    expect(await ask(page, 'Where is the key?')).toHaveLength(1);
  });
});

test('a loss that is no number goes back to the last good step and says so; the best is kept', async ({ browser }) => {
  const { context, page } = await openSite(browser);
  await offer(page, brokenToken('~'));
  await page.getByLabel('Name').fill('broken');
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  await expect(page.getByRole('row', { name: /broken/ })).toContainText('on the GPU', { timeout: 60_000 });
  await pasteRows(page, ROWS.replace('What does Zed like to eat?', TROUBLE));
  await goTo(page, 'Data');
  await expect(page.getByRole('row', { name: TROUBLE })).toContainText('train');
  await goTo(page, 'Train');
  await expect(page.getByRole('button', { name: /^Train LoRA, / })).toBeVisible({ timeout: 30_000 });
  for (const [name, value] of [
    [/effective batch size/, '1'],
    [/epochs/, '1'],
    [/validations a run/, '6'],
  ] as const)
    await setSetting(page, name, value);
  await page.getByRole('button', { name: /^Train LoRA/ }).click();
  const message = await expectCode(page, 'fit/diverged', 90_000);
  await expect(message).toContainText(/The best checkpoint, of step \d, is kept/);
  await expect(message).toContainText(/Set the learning rate to/);
  await expect(page.getByText(/Training went back to step \d and goes on at half the rate/)).toHaveCount(2);
  await expect(page.getByText('fit/rolled-back').first()).toBeVisible();
  await picture(page, 'bad-loss-that-is-no-number');
  await expect
    .poll(async () => (await kept(page)).runs)
    .toEqual([{ status: 'failed', checkpoint: false, contestantId: expect.any(String) }]);
  await goTo(page, 'Task');
  await expect(boardRow(page, 'LoRA')).toBeVisible();
  await context.close();
});

/** One that seed 7 puts among the training rows. */
const TROUBLE = 'Is it ~?';
/** A model with its own head, in whose table one token's row is not a number: only texts with that token come to grief. */
function brokenToken(token: string): Picked[] {
  return smallModel('llama3_untied').files.map((path_) => {
    const name = path.basename(path_);
    const file = Buffer.from(readFileSync(path_));
    if (!name.endsWith('.safetensors')) return picked(name, file);
    const vocabulary: { readonly model: { readonly vocab: Readonly<Record<string, number>> } } = JSON.parse(
      readFileSync(path.join(path.dirname(path_), 'tokenizer.json'), 'utf8'),
    );
    const start = 8 + Number(file.readBigUInt64LE(0));
    const header: Record<string, { readonly shape: readonly [number, number]; readonly data_offsets: readonly [number, number] }> =
      JSON.parse(file.subarray(8, start).toString());
    const table = header['model.embed_tokens.weight'];
    const id = vocabulary.model.vocab[token];
    if (table === undefined || id === undefined) throw new Error(`No row for ${token} in ${name}.`);
    const at = start + table.data_offsets[0] + 4 * table.shape[1] * id;
    for (let i = 0; i < table.shape[1]; i++) file.writeFloatLE(Number.NaN, at + 4 * i);
    return picked(name, file);
  });
}

/** A PEFT folder of a model with other sizes: right in itself, wrong here. */
function otherAdapter(): Picked[] {
  const rank = 4;
  const names = ['q_proj', 'v_proj'].flatMap((name) => [
    { name: `base_model.model.model.layers.0.self_attn.${name}.lora_A.weight`, shape: [rank, 96] },
    { name: `base_model.model.model.layers.0.self_attn.${name}.lora_B.weight`, shape: [96, rank] },
  ]);
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const { name, shape } of names) {
    const bytes = 4 * shape.reduce((product, n) => product * n, 1);
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    r: rank,
    lora_alpha: 8,
    lora_dropout: 0,
    target_modules: ['q_proj', 'v_proj'],
    bias: 'none',
    base_model_name_or_path: 'other',
  };
  return [
    picked('adapter_config.json', JSON.stringify(config)),
    picked('adapter_model.safetensors', Buffer.concat([length, text, Buffer.alloc(at)])),
  ];
}
