import { expect, type Page, test } from '@playwright/test';
import { ask, boardRow, goTo, setSetting, trainAndWait } from '../support/site.ts';
import { watchTraffic } from '../support/traffic.ts';

test.use({ storageState: { cookies: [], origins: [] } });

/** The training rows as the Data screen lists them: question and answer. */
const trainedRow = /train/;

/** The training loss of every step of the runs on this device. */
function lossesOf(page: Page): Promise<number[]> {
  return page.evaluate(async () => {
    const open = indexedDB.open('maquette');
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      open.onsuccess = () => resolve(open.result);
      open.onerror = () => reject(open.error);
    });
    const all = database.transaction('runs').objectStore('runs').getAll();
    const runs = await new Promise<{ curves: Record<string, { value: number }[]> }[]>((resolve) => {
      all.onsuccess = () => resolve(all.result);
    });
    database.close();
    return runs.flatMap((run) => (run.curves.loss ?? []).map((point) => point.value));
  });
}

test('the first visit to a board, an adapter that learned, a reload, an export and back', async ({ page, context, baseURL }) => {
  test.setTimeout(900_000);
  const traffic = watchTraffic(context, baseURL ?? '');
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto('/');

  await test.step('the site opens with its model and a sample, and Base is scored', async () => {
    await expect(boardRow(page, 'Base')).toBeVisible({ timeout: 60_000 });
    await page.getByRole('button', { name: 'Measure Base', exact: true }).click();
    await expect(boardRow(page, 'Base')).toContainText('of 40', { timeout: 120_000 });
  });

  await test.step('the system prompt is scored beside it, and obeyed', async () => {
    await page.getByRole('button', { name: 'Measure System prompt', exact: true }).click();
    await expect(boardRow(page, 'System prompt')).toContainText('Better', { timeout: 120_000 });
  });

  let question = '';
  let answer = '';
  await test.step('LoRA is trained in the tab', async () => {
    await goTo(page, 'Data');
    const row = page.getByRole('row', { name: trainedRow }).filter({ hasText: /\?/ }).first();
    const cells = (await row.getByRole('cell').allTextContents()).map((cell) => cell.trim());
    question = cells.find((cell) => cell.endsWith('?')) ?? '';
    answer = cells.find((cell) => cell.startsWith('{')) ?? '';
    expect(question).not.toBe('');
    expect(answer).not.toBe('');
    await goTo(page, 'Train');
    await setSetting(page, /epochs/, '6');
    await setSetting(page, /validations a run/, '2');
    await setSetting(page, /validations without a better one/, '0');
    await trainAndWait(page, 500);
    const losses = await lossesOf(page);
    expect(losses.length).toBeGreaterThan(20);
    expect(Math.min(...losses.slice(-5))).toBeLessThan(losses[0]! / 2);
  });

  await test.step('the board shows all three, with intervals and a paired verdict', async () => {
    await goTo(page, 'Task');
    const lora = boardRow(page, 'LoRA');
    await expect(lora).toContainText('of 40');
    await expect(lora).toContainText(/Better|Worse|Cannot tell/);
    await expect(lora).toContainText('checkpoint chosen on these rows');
    await expect(boardRow(page, 'System prompt')).toContainText('of 40');
    await lora.getByRole('button', { name: /^Open/ }).click();
    await expect(page.getByText(/^(Fixed|Better|Same|Broken|Worse)/).first()).toBeVisible();
  });

  let learned = '';
  await test.step('LoRA answers a training row as Base did not', async () => {
    await goTo(page, 'Chat');
    const [base, lora] = await ask(page, question);
    learned = lora ?? '';
    expect(base).not.toBe(answer);
    expect(learned).toBe(answer);
  });

  await test.step('a reload keeps everything', async () => {
    await page.reload();
    await goTo(page, 'Task');
    await expect(boardRow(page, 'LoRA')).toContainText('of 40');
    await goTo(page, 'Train');
    await expect(page.getByText('The last run kept its checkpoint')).toBeVisible();
    await goTo(page, 'Chat');
    expect((await ask(page, question))[1]).toBe(learned);
  });

  for (const [target, save, name] of [
    ['Adapter for PEFT', /^Save/, 'lora.zip'],
    ['llama.cpp', /^Save/, 'lora.gguf'],
  ] as const) {
    await test.step(`${name} goes out and comes back with the same answers`, async () => {
      await goTo(page, 'Export');
      await page.getByLabel('Contestant').selectOption({ label: 'LoRA' });
      const waiting = page.waitForEvent('download');
      await page.getByRole('article', { name: target }).getByRole('button', { name: save }).click();
      const download = await waiting;
      expect(download.suggestedFilename()).toBe(name);
      const file = test.info().outputPath(name);
      await download.saveAs(file);
      await page.setInputFiles('[data-pick="contestant"]', file);
      await expect(page.getByRole('heading', { name: /is on the board\.$/ })).toBeVisible();
      await page.reload();
      await goTo(page, 'Chat');
      const answers = await ask(page, question);
      expect(answers).toHaveLength(2);
      expect(answers[1]).toBe(learned);
    });
  }

  expect(errors).toEqual([]);
  expect(traffic.foreign).toEqual([]);
});
