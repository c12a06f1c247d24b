// Ways in and out that the main path does not take: a folder, a drop, LoRA under a system prompt with its pinned prompts and strength, words as a file,
// and a template that writes earlier turns otherwise.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, type Page, test } from '@playwright/test';
import { type Opened, openSite, smallModel } from '../support/screens.ts';
import { ask, boardRow, goTo, pasteRows, ROWS, setSetting, trainAndWait } from '../support/site.ts';

test.describe.configure({ mode: 'serial' });
let opened: Opened;
let folder = '';
test.beforeAll(async ({ browser }) => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'maquette-words-'));
  for (const file of smallModel().files) writeFileSync(path.join(folder, path.basename(file)), readFileSync(file));
  opened = await openSite(browser);
});
test.afterAll(async () => {
  await opened.context.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Keeps what was chosen or dropped, under a name, and waits until it is on the GPU. */
async function keepAs(page: Page, name: string): Promise<void> {
  await page.getByLabel('Name').fill(name);
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  await expect(page.getByRole('row', { name: new RegExp(name) })).toContainText('on the GPU', { timeout: 60_000 });
}

test('a template that rewrites earlier turns: only the last turn is trained, and the screen says so', async () => {
  const { page } = opened;
  const name = 'tokenizer_config.json';
  const config: Record<string, unknown> = JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
  // It forgets what was said before the last question, as templates do that leave out earlier thoughts.
  const template =
    "{% for m in messages %}{% if m.role != 'assistant' or loop.last %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  const files = smallModel().files.map((file) => ({
    name: path.basename(file),
    mimeType: 'application/octet-stream',
    buffer: path.basename(file) === name ? Buffer.from(JSON.stringify({ ...config, chat_template: template })) : readFileSync(file),
  }));
  await goTo(page, 'Models');
  // Dropped on the screen, not picked.
  const dropped = await page.evaluateHandle(
    (given) => {
      const transfer = new DataTransfer();
      for (const { name: called, base64 } of given)
        transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], called));
      return transfer;
    },
    files.map((file) => ({ name: file.name, base64: file.buffer.toString('base64') })),
  );
  await page.getByRole('group', { name: 'Add a model' }).dispatchEvent('drop', { dataTransfer: dropped });
  await keepAs(page, 'forgetful');
  const chat = Array.from({ length: 6 }, (_, i) => ({
    messages: [
      { role: 'user', content: `One ${i}?` },
      { role: 'assistant', content: '1' },
      { role: 'user', content: `Two ${i}?` },
      { role: 'assistant', content: '2' },
    ],
  }));
  await goTo(page, 'Data');
  await page
    .getByLabel('File of rows')
    .setInputFiles([
      { name: 'chat.jsonl', mimeType: 'text/plain', buffer: Buffer.from(chat.map((row) => JSON.stringify(row)).join('\n')) },
    ]);
  await page.getByRole('button', { name: /^Add 6 rows/ }).click();
  await expect(page.getByText('The chat template rewrites earlier turns, so only the last turn is trained.')).toBeVisible();
});

test('a folder is a model; LoRA is trained under a system prompt, with three pinned prompts answered before and during', async () => {
  const { page } = opened;
  await goTo(page, 'Models');
  await page.locator('[data-pick="folder"]').setInputFiles(folder);
  await keepAs(page, 'from a folder');
  await goTo(page, 'Task');
  await page.getByRole('button', { name: /on this device$/ }).click();
  await page.getByRole('button', { name: 'New task' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('Words');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: 'Words' })).toBeVisible();
  await pasteRows(page, ROWS);
  await page.getByRole('button', { name: /^Measure Base/ }).click();
  await expect(boardRow(page, 'Base')).toContainText('n = 6', { timeout: 90_000 });
  await goTo(page, 'Prompt');
  await page.getByLabel(/^What the model is told/).fill('Be short.');
  await page.keyboard.press('Control+Enter');
  await expect(page.getByRole('complementary', { name: 'Versions' })).toContainText('n = 6', { timeout: 90_000 });
  await goTo(page, 'Train');
  await page.getByLabel(/^Trained under/).selectOption({ label: 'Prompt 1' });
  const pinned = page.getByRole('textbox', { name: /^Pinned prompt \d$/ });
  await expect(pinned).toHaveCount(3);
  await pinned.first().fill('Who are you?');
  await pinned.first().blur();
  for (const [name, value] of [
    [/epochs/, '8'],
    [/validations a run/, '2'],
    [/validations without a better one/, '0'],
  ] as const)
    await setSetting(page, name, value);
  await trainAndWait(page);
  const answers = page.getByRole('table', { name: /^Pinned prompts/ }).getByRole('row');
  await expect(answers).toHaveCount(4);
  await expect(answers.nth(1)).toContainText('Who are you?');
  await expect(page.getByRole('table', { name: /^Pinned prompts/ })).not.toContainText('waits for the first validation');
  // What is in force for the next run is what the screen says.
  await expect(page.getByLabel(/^Trained under/)).toHaveValue(/./);
  await goTo(page, 'Task');
  await expect(boardRow(page, 'LoRA')).toContainText('system prompt');
});

test('at strength 0 it is the prompt alone, at 1.5 it is not', async () => {
  const { page } = opened;
  await goTo(page, 'Chat');
  await page.getByLabel('Add a column').selectOption({ label: 'Prompt 1' });
  await page.getByLabel('Longest answer').fill('12');
  const slider = page.getByRole('slider', { name: 'Strength' });
  await expect(slider).toHaveCount(1);
  await expect(slider).toHaveAttribute('min', '0');
  await expect(slider).toHaveAttribute('max', '1.5');
  await slider.fill('0');
  const [, off, prompt] = await ask(page, 'Where is the key?');
  expect(off).toBe(prompt);
  await page.getByRole('button', { name: 'Start anew' }).click();
  await slider.fill('1.5');
  const [, strong, same] = await ask(page, 'Where is the key?');
  expect(same).toBe(prompt);
  expect(strong).not.toBe(prompt);
});

test('words go out as JSON with the lines that use them, and come back with the same answers', async () => {
  const { page } = opened;
  await goTo(page, 'Export');
  await page.getByLabel('Contestant', { exact: true }).selectOption({ label: 'LoRA' });
  await expect(page.getByRole('article', { name: 'Adapter for PEFT' })).toContainText('trained under words of its own');
  await page.getByLabel('Contestant', { exact: true }).selectOption({ label: 'Prompt 1' });
  const target = page.getByRole('article', { name: 'Prompt text' });
  await target.getByRole('button', { name: 'How to load it' }).click();
  await expect(page.getByRole('dialog')).toContainText('json.load(open("prompt-1.json"');
  await page.getByRole('button', { name: 'Close', exact: true }).last().click();
  const waiting = page.waitForEvent('download');
  await target.getByRole('button', { name: /^Save/ }).click();
  const file = test.info().outputPath('prompt-1.json');
  await (await waiting).saveAs(file);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ format: 'maquette-prompt', prompt: { system: 'Be short.', shots: [] } });
  await page.setInputFiles('[data-pick="contestant"]', file);
  await expect(page.getByRole('heading', { name: 'Prompt 1 is on the board.' })).toBeVisible();
  await goTo(page, 'Task');
  const rows = boardRow(page, 'Prompt 1');
  await expect(rows).toHaveCount(2);
  await page.getByRole('button', { name: 'Measure Prompt 1', exact: true }).click();
  await expect(rows.filter({ hasText: 'imported' })).toContainText('n = 6', { timeout: 90_000 });
  // Two of one kind answer alike: no row won, none lost.
  await rows.filter({ hasText: 'imported' }).getByRole('button', { name: /^Open/ }).click();
  await page.getByLabel('Compare with').selectOption({ label: 'Prompt 1' });
  await expect(page.getByRole('group', { name: 'Show examples' })).toContainText('Same 6');
});

test('what is set for the next run is there after a reload', async () => {
  const { page } = opened;
  await goTo(page, 'Train');
  await page.reload();
  await expect(page.getByLabel(/^Trained under/).getByRole('option', { selected: true })).toHaveText('Prompt 1');
  await expect(page.getByRole('textbox', { name: 'Pinned prompt 1' })).toHaveValue('Who are you?');
  const all = page.locator('details', { hasText: 'All settings' });
  await all.locator('summary').click();
  await expect(all.getByRole('row', { name: /epochs/ }).getByRole('spinbutton')).toHaveValue('8');
});
