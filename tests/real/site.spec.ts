// The main job on SmolLM2 in the built site. What it leaves in MAQUETTE_REAL_WORK (site.json, lora.zip) is compared with PEFT by checks.ts.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@playwright/test';
import { boardRow, goTo, pasteRows, setSetting, trainAndWait } from '../support/site.ts';
import { watchTraffic } from '../support/traffic.ts';

const GGUF = process.env.MAQUETTE_REAL_GGUF ?? '';
const WORK = process.env.MAQUETTE_REAL_WORK ?? '';
const MINUTES = 60_000;

/** A step that says how long it took: the whole takes many minutes, and a person should see it move. */
const step = (name: string, run: () => Promise<void>): Promise<void> =>
  test.step(name, async () => {
    const started = Date.now();
    await run();
    console.log(`${name}: ${Math.round((Date.now() - started) / 1000)} s`);
  });

test('SmolLM2 from its file to a board, ten steps of LoRA and an export', async ({ page, context, baseURL }) => {
  const traffic = watchTraffic(context, baseURL ?? '');
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') console.log(`console: ${message.text()}`);
  });
  await page.goto('/');

  await step('the GGUF file is kept, held as f32 and loaded', async () => {
    await goTo(page, 'Models');
    await page.setInputFiles('[data-pick="files"]', GGUF);
    await page.getByLabel('Name').fill('SmolLM2');
    await page.getByRole('radio', { name: /^Exact/ }).check();
    await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
    await expect(page.getByRole('row', { name: /SmolLM2/ })).toContainText('on the GPU', { timeout: 10 * MINUTES });
  });

  await step('pasted rows become a task: 5 train, 3 validate, answers of 4 tokens', async () => {
    await pasteRows(page);
    await goTo(page, 'Data');
    await page.getByLabel('Train, %').fill('42');
    await page.getByLabel('Validation, %').fill('25');
    await page.getByRole('button', { name: 'Split again' }).click();
    await expect(page.getByText(/5 train, 3 validation, 4 test/)).toBeVisible();
    await goTo(page, 'Task');
    await page.getByRole('button', { name: 'Change the score' }).click();
    await page.getByLabel(/^Longest answer/).fill('4');
    await page.getByRole('dialog').getByRole('button', { name: 'Change', exact: true }).click();
  });

  await step('Base is scored', async () => {
    await page.getByRole('button', { name: /^Measure Base/ }).click();
    await expect(boardRow(page, 'Base')).toContainText('n = 3', { timeout: 20 * MINUTES });
  });

  await step('a prompt is scored', async () => {
    await goTo(page, 'Prompt');
    await page.getByLabel(/^What the model is told/).fill('Answer in one sentence.');
    await page.keyboard.press('Control+Enter');
    await expect(page.getByRole('complementary', { name: 'Versions' })).toContainText('n = 3', { timeout: 20 * MINUTES });
  });

  await step('ten steps of LoRA', async () => {
    await goTo(page, 'Train');
    for (const [name, value] of [
      [/epochs/, '2'],
      [/effective batch size/, '1'],
      [/micro-batch size/, '1'],
      [/validations a run/, '1'],
      [/learning rate/, '0.001'],
      [/^How big/, '8'],
    ] as const) {
      await setSetting(page, name, value);
    }
    await trainAndWait(page, 45 * 60);
    await goTo(page, 'Task');
    await expect(boardRow(page, 'LoRA')).toContainText('n = 3', { timeout: 20 * MINUTES });
  });

  await step('its records are read and its adapter saved for PEFT', async () => {
    const records = await page.evaluate(async () => {
      const open = indexedDB.open('maquette');
      const database = await new Promise<IDBDatabase>((resolve, reject) => {
        open.onsuccess = () => resolve(open.result);
        open.onerror = () => reject(open.error);
      });
      const all = (store: string) =>
        new Promise<unknown[]>((resolve, reject) => {
          const request = database.transaction(store).objectStore(store).getAll();
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => reject(request.error);
        });
      const found = { runs: await all('runs'), tasks: await all('tasks'), datasets: await all('datasets'), results: await all('results') };
      database.close();
      return found;
    });
    writeFileSync(path.join(WORK, 'site.json'), JSON.stringify(records));
    await goTo(page, 'Export');
    await page.getByLabel('Contestant').selectOption({ label: 'LoRA' });
    const waiting = page.waitForEvent('download');
    await page.getByRole('article', { name: 'Adapter for PEFT' }).getByRole('button', { name: /^Save/ }).click();
    await (await waiting).saveAs(path.join(WORK, 'site.zip'));
  });

  expect(errors).toEqual([]);
  expect(traffic.foreign).toEqual([]);
});
