// What the main job asks of every model: an adapter that learns, the board, a reload, exports and back.
import { expect, type Page, test } from '@playwright/test';
import { ask, boardRow, goTo, setSetting, trainAndWait } from './site.ts';

export interface Journey {
  readonly epochs: number;
  readonly validations: number;
  /** As in trainAndWait. */
  readonly seconds?: number;
  /** Is this cell of a row its answer? */
  readonly isAnswer: (cell: string) => boolean;
  /** What a scored row of the board says of how many rows it was scored on. */
  readonly scored: string;
  /** The prompt's name on the board. */
  readonly prompt: string;
  /** The adapter gives the row's own answer; without it, one that Base did not give. */
  readonly exact: boolean;
}

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

/** From a task whose Base and prompt are scored to an adapter that learned, was reloaded, exported and brought back. */
export async function trainAndTakeAway(page: Page, journey: Journey): Promise<void> {
  let question = '';
  let answer = '';
  await test.step('LoRA is trained in the tab', async () => {
    await goTo(page, 'Data');
    const row = page.getByRole('row', { name: /train/ }).filter({ hasText: /\?/ }).first();
    await expect(row).toBeVisible();
    const cells = (await row.getByRole('cell').allTextContents()).map((cell) => cell.trim());
    question = cells.find((cell) => cell.endsWith('?')) ?? '';
    answer = cells.find(journey.isAnswer) ?? '';
    expect(question).not.toBe('');
    expect(answer).not.toBe('');
    await goTo(page, 'Train');
    await setSetting(page, /epochs/, String(journey.epochs));
    await setSetting(page, /validations a run/, String(journey.validations));
    await setSetting(page, /validations without a better one/, '0');
    await trainAndWait(page, journey.seconds);
    const losses = await lossesOf(page);
    expect(losses.length).toBeGreaterThan(20);
    expect(Math.min(...losses.slice(-5))).toBeLessThan(losses[0]! / 2);
  });

  await test.step('the board shows all three, with intervals and a paired verdict', async () => {
    await goTo(page, 'Task');
    const lora = boardRow(page, 'LoRA');
    await expect(lora).toContainText(journey.scored);
    await expect(lora).toContainText(/Better|Worse|Cannot tell/);
    await expect(lora).toContainText('checkpoint chosen on these rows');
    await expect(boardRow(page, journey.prompt)).toContainText(journey.scored);
    await lora.getByRole('button', { name: /^Open/ }).click();
    await expect(page.getByText(/^(Fixed|Better|Same|Broken|Worse)/).first()).toBeVisible();
  });

  let learned = '';
  await test.step('LoRA answers a training row as Base did not', async () => {
    await goTo(page, 'Chat');
    const [base, lora] = await ask(page, question);
    learned = lora ?? '';
    expect(base).not.toBe(answer);
    if (journey.exact) expect(learned).toBe(answer);
    else expect(learned).not.toBe(base);
  });

  await test.step('a reload keeps everything', async () => {
    await page.reload();
    await goTo(page, 'Task');
    await expect(boardRow(page, 'LoRA')).toContainText(journey.scored);
    await goTo(page, 'Train');
    await expect(page.getByText('The last run kept its checkpoint')).toBeVisible();
    await goTo(page, 'Chat');
    const said = page.locator('.turn').last();
    await expect(said.locator('.you')).toContainText(question);
    expect((await said.locator('[data-answer]').allTextContents()).map((text) => text.trim())[1]).toBe(learned);
    await page.getByRole('button', { name: 'Start anew' }).click();
    expect((await ask(page, question))[1]).toBe(learned);
  });

  for (const [target, name] of [
    ['Adapter for PEFT', 'lora.zip'],
    ['llama.cpp', 'lora.gguf'],
  ] as const) {
    await test.step(`${name} goes out and comes back with the same answers`, async () => {
      await goTo(page, 'Export');
      await page.getByLabel('Contestant').selectOption({ label: 'LoRA' });
      const waiting = page.waitForEvent('download');
      await page.getByRole('article', { name: target }).getByRole('button', { name: /^Save/ }).click();
      const download = await waiting;
      expect(download.suggestedFilename()).toBe(name);
      const file = test.info().outputPath(name);
      await download.saveAs(file);
      await page.setInputFiles('[data-pick="contestant"]', file);
      await expect(page.getByRole('heading', { name: /is on the board\.$/ })).toBeVisible();
      await page.reload();
      await goTo(page, 'Chat');
      // A new conversation begins with the newest contestant: the one that came back.
      await page.getByRole('button', { name: 'Start anew' }).click();
      const answers = await ask(page, question);
      expect(answers).toHaveLength(2);
      expect(answers[1]).toBe(learned);
    });
  }
}
