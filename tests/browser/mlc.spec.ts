// A folder in MLC's layout, in the browser: recognised, kept as it is, answering as the same weights do elsewhere, trained on, there after a reload;
// a shard that is missing or was changed.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from '@playwright/test';
import { picture } from '../support/picture.ts';
import { expectCode } from '../support/screens.ts';
import { ask, goTo, pasteRows, setSetting, trainAndWait } from '../support/site.ts';

const FOLDER = path.resolve(import.meta.dirname, '../fixtures/quant/llama/mlc_q4f32_1');
const WANTED = /^(mlc-chat-config|tensor-cache|tokenizer|tokenizer_config)\.json$|^params_shard_\d+\.bin$/;
const filesOf = (folder: string): string[] =>
  readdirSync(folder)
    .filter((file) => WANTED.test(file))
    .map((file) => path.join(folder, file));

test('a folder of MLC is kept as it is, answers, trains and is there after a reload', async ({ page }) => {
  await page.goto('/');
  await goTo(page, 'Models');
  await page.setInputFiles('[data-pick="files"]', filesOf(FOLDER));
  const needed = page.getByText(/^There is no model library/);
  await expect(needed).toContainText('mlc/no-library');
  await expect(needed).toContainText('2 layers, widths 64 and 128, 288 tokens, q4f32_1');
  await expect(needed).toContainText('web-llm-models/v0_2_86/base');
  await expect(needed).toContainText('npm run webllm:library -- MODEL_DIR OUT.wasm --quantization q4f32_1');
  await picture(page, 'mlc-found');
  await page.getByLabel('Name').fill('Shards');
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  const row = page.getByRole('row', { name: /Shards/ });
  await expect(row).toContainText('on the GPU', { timeout: 60_000 });
  await expect(row).toContainText('Q4F32_1');
  await picture(page, 'mlc-kept');
  await pasteRows(page);
  await goTo(page, 'Train');
  await setSetting(page, /epochs/, '2');
  await trainAndWait(page);
  await goTo(page, 'Chat');
  await page.getByLabel('Temperature').fill('0');
  const before = await ask(page, 'Where?');
  expect(before).toHaveLength(2);
  expect(before[0]).not.toBe('');
  await page.reload();
  await goTo(page, 'Chat');
  await page.getByRole('button', { name: 'Start anew' }).click();
  expect(await ask(page, 'Where?')).toEqual(before);
});

test('shards that are missing or were changed are named, and nothing is kept', async ({ page }) => {
  const copy = mkdtempSync(path.join(os.tmpdir(), 'maquette-mlc-'));
  try {
    cpSync(FOLDER, copy, { recursive: true });
    await page.goto('/');
    await goTo(page, 'Models');
    await page.setInputFiles(
      '[data-pick="files"]',
      filesOf(copy).filter((file) => !file.endsWith('.bin')),
    );
    await expectCode(page, 'mlc/shards-missing');
    await picture(page, 'mlc-shards-missing');
    const shard = path.join(copy, 'params_shard_0.bin');
    writeFileSync(shard, readFileSync(shard).subarray(0, 1000));
    await page.setInputFiles('[data-pick="files"]', filesOf(copy));
    await expectCode(page, 'mlc/shard-size');
    await expect(page.getByText('No model is here yet')).toBeVisible();
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});

test('what ends an answer and how a chat is laid out are asked where nothing says it', async ({ page }) => {
  const copy = mkdtempSync(path.join(os.tmpdir(), 'maquette-mlc-'));
  try {
    cpSync(FOLDER, copy, { recursive: true });
    const file = path.join(copy, 'mlc-chat-config.json');
    const { eos_token_id: _, ...chat } = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...chat, conv_template: 'chatml' }));
    await page.goto('/');
    await goTo(page, 'Models');
    await page.setInputFiles(
      '[data-pick="files"]',
      filesOf(copy).filter((name) => !name.endsWith('tokenizer_config.json')),
    );
    await expectCode(page, 'mlc/no-stops');
    await expect(page.getByLabel('The token that ends an answer')).toBeVisible();
    await picture(page, 'mlc-question');
    await page.getByRole('button', { name: 'Go on with this' }).click();
    await expectCode(page, 'mlc/no-layout');
    await picture(page, 'mlc-question-layout');
    await page.getByLabel('How a chat is laid out').selectOption({ label: 'None: each message on a line of its own' });
    await page.getByRole('button', { name: 'Go on with this' }).click();
    await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
    await expect(page.getByRole('row', { name: /Q4F32_1/ })).toContainText('on the GPU', { timeout: 60_000 });
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});
