// The first visit: being made ready, opened, each stop of its tour, measured; and the picture of the README, taken from it.
import path from 'node:path';
import { expect, type Page, test } from '@playwright/test';
import { holdEngine } from '../support/hold.ts';
import { FOLDER, picture } from '../support/picture.ts';
import { ask, boardRow, goTo, setSetting } from '../support/site.ts';

const MODEL = /models\/.*\.gguf$/;
const idle = (page: Page, timeout: number) =>
  expect(page.getByRole('contentinfo')).not.toContainText(/Measuring|Training|Loading/, { timeout });

test.use({ storageState: { cookies: [], origins: [] } });

test('the first visit, its tour, and the Board that it ends with', async ({ page }) => {
  await test.step('made ready', async () => {
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route(MODEL, async (route) => {
      await released;
      await route.continue();
    });
    await page.goto('/');
    await expect(page.getByRole('progressbar').first()).toBeVisible();
    await picture(page, 'first-visit-loading');
    release();
    await expect(boardRow(page, 'System prompt')).toBeVisible({ timeout: 60_000 });
    await idle(page, 600_000);
    await picture(page, 'first-visit');
  });

  await test.step('the tour', async () => {
    await page.getByRole('button', { name: 'Follow the six stops' }).click();
    await picture(page, 'tour-0-begun');
    await page.getByRole('list', { name: 'Tour, six stops' }).getByRole('link', { name: 'Go to the rows' }).click();
    const next = page.getByRole('button', { name: 'Next stop' });
    await expect(page.getByText(/tokens, \d+ trained/)).toBeVisible();
    await picture(page, 'tour-1-data');
    await next.click();
    await picture(page, 'tour-2-preview');
    await next.click();
    await picture(page, 'tour-3-baseline');
    await page.getByRole('button', { name: /^Measure Base, / }).click();
    await expect(boardRow(page, 'Base')).toContainText('of 40', { timeout: 600_000 });
    await next.click();
    await picture(page, 'tour-4-improve');
    await page.getByRole('button', { name: /^Measure 2 prompts/ }).click();
    await expect(boardRow(page, 'Four shots')).toContainText('of 40', { timeout: 600_000 });
    await idle(page, 600_000);
    await next.click();
    await picture(page, 'tour-5-compare');
    await next.click();
    await expect(page.getByRole('article').first()).toBeVisible();
    await picture(page, 'tour-6-export');
    await page.getByRole('button', { name: 'End the tour' }).click();
  });

  await test.step('the other screens with the model of the site', async () => {
    await goTo(page, 'Data');
    await expect(page.getByText(/tokens, \d+ trained/)).toBeVisible();
    await picture(page, 'first-visit-data');
    await goTo(page, 'Models');
    await expect(
      page
        .getByRole('row', { name: /Vale micro/ })
        .getByRole('option')
        .nth(2),
    ).toBeAttached();
    await picture(page, 'first-visit-models');
    await goTo(page, 'Chat');
    await ask(page, 'The home of Cora is Calder. Walt keeps a wren. Who has a wren at home?');
    await picture(page, 'first-visit-chat');
  });
});

test('the whole Board on the model of the site, and the picture of the README', async ({ page }) => {
  const hold = await holdEngine(page);
  await page.goto('/');
  await expect(boardRow(page, 'System prompt')).toBeVisible({ timeout: 60_000 });
  await idle(page, 600_000);
  await page.getByRole('button', { name: 'Close this' }).click();
  await page.getByRole('button', { name: /^Measure what is missing/ }).click();
  await expect(boardRow(page, 'Four shots')).toContainText('of 40', { timeout: 600_000 });
  await idle(page, 600_000);

  await test.step('steps before the answer', async () => {
    await goTo(page, 'Prompt');
    const versions = page.getByRole('complementary', { name: 'Versions' });
    await versions
      .getByRole('listitem')
      .filter({ hasText: 'System prompt' })
      .last()
      .getByRole('button', { name: 'Go on from this' })
      .click();
    await page.getByLabel('Ask for the steps before the answer').check();
    await page.keyboard.press('Control+Enter');
    const made = versions.getByRole('listitem').filter({ hasText: /^\s*Prompt \d/ });
    await expect(made).toContainText(/n\s=\s40/, { timeout: 600_000 });
    await idle(page, 600_000);
    await picture(page, 'prompt-versions');
  });

  await test.step('LoRA', async () => {
    await goTo(page, 'Task');
    await expect(page.getByRole('button', { name: 'Train LoRA now' })).toBeVisible();
    // Two passes instead of ten: on a software GPU a minute or two, and enough for this sample.
    await goTo(page, 'Train');
    await setSetting(page, /epochs/, '2');
    await setSetting(page, /validations a run/, '3');
    await page.getByRole('button', { name: /^Train LoRA/ }).click();
    await goTo(page, 'Task');
    await expect(boardRow(page, 'LoRA')).toContainText(/[1-9]\d* of \d+ steps/, { timeout: 300_000 });
    await hold.stop('gpu');
    await hold.reached();
    await picture(page, 'task-training');
    await hold.go();
    await expect(boardRow(page, 'LoRA')).toContainText('of 40', { timeout: 1_500_000 });
    await idle(page, 600_000);
    await picture(page, 'task-board-all');
    await boardRow(page, 'LoRA').getByRole('button', { name: /^Open/ }).click();
    await expect(page.getByRole('group', { name: 'Show examples' })).toBeVisible();
    await picture(page, 'task-board-all-opened');
    await boardRow(page, 'LoRA')
      .getByRole('button', { name: /^Close/ })
      .click();
    await goTo(page, 'Train');
    await picture(page, 'train-whole-run');
  });

  // It stands in the repository as src/ui/board.png: copied there by hand, where it was looked at.
  await test.step('shots/board.png', async () => {
    await goTo(page, 'Task');
    const width = 1240;
    await page.setViewportSize({ width, height: 900 });
    const note = await page.locator('#board-note').boundingBox();
    const foot = await page.getByRole('contentinfo').boundingBox();
    const height = Math.ceil((note?.y ?? 0) + (note?.height ?? 0) + (foot?.height ?? 0) + 24);
    await page.setViewportSize({ width, height });
    await page.screenshot({ path: path.join(FOLDER, 'board.png') });
  });
});
