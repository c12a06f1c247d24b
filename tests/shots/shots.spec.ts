import { mkdirSync } from 'node:fs';
import path from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import { expect, type Page, test } from '@playwright/test';
import { addModel, ask, boardRow, goTo, pasteRows, setSetting, testModel } from '../support/site.ts';

const FOLDER = path.resolve(import.meta.dirname, '../../shots');
const WIDTHS = [320, 768, 1440];
const SCHEMES = ['light', 'dark'] as const;
const model = testModel();
const violations: string[] = [];

/** The screen as it stands, at each width and in both schemes, as tall as its content; and what axe says of it. */
async function capture(page: Page, name: string): Promise<void> {
  for (const scheme of SCHEMES) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      await page.waitForTimeout(150);
      const height = await page.evaluate(() => document.documentElement.scrollHeight);
      await page.setViewportSize({ width, height: Math.min(Math.max(height, 900), 6000) });
      await page.waitForTimeout(100);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      if (wide > width) violations.push(`${name} ${width} ${scheme}: scrolls sideways, ${wide} px wide`);
      await page.screenshot({ path: path.join(FOLDER, `${name}-${width}-${scheme}.png`) });
      if (width === 768) continue;
      const { violations: found } = await new AxeBuilder({ page }).analyze();
      for (const violation of found) {
        if (violation.impact === 'serious' || violation.impact === 'critical') {
          violations.push(
            `${name} ${width} ${scheme}: ${violation.id}, ${violation.nodes.map((node) => node.target.join(' ')).join('; ')}`,
          );
        }
      }
    }
  }
  await page.setViewportSize({ width: 1440, height: 1000 });
  await page.emulateMedia({ colorScheme: 'light' });
}

test('every screen and state', async ({ page }) => {
  mkdirSync(FOLDER, { recursive: true });
  await page.goto('/');
  await expect(page.getByRole('heading', { name: 'Or try rows of our own writing' })).toBeVisible();
  await capture(page, 'task-first-visit');
  for (const screen of ['Data', 'Prompt', 'Train', 'Chat', 'Export', 'Models'] as const) {
    await goTo(page, screen);
    await page.waitForTimeout(400);
    await capture(page, `${screen.toLowerCase()}-empty`);
  }
  await page.setInputFiles(
    '[data-pick="files"]',
    model.files.filter((file) => /config\.json$/.test(file)),
  );
  await expect(page.getByText('For a report')).toBeVisible();
  await capture(page, 'models-missing-files');
  await page.setInputFiles('[data-pick="files"]', [...model.files]);
  await expect(page.getByRole('button', { name: /^Keep .* on this device$/ })).toBeVisible();
  await capture(page, 'models-found');
  await addModel(page, model);
  await capture(page, 'models-full');

  await goTo(page, 'Task');
  await page.getByLabel('Paste from a spreadsheet').fill('Who?\tZed.\nWhere?\tHere.');
  await page.getByRole('button', { name: 'Read the rows' }).click();
  await expect(page.getByRole('button', { name: /^Add \d+ rows/ })).toBeVisible();
  await capture(page, 'task-read-rows');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await pasteRows(page);
  await capture(page, 'task-no-contestant');
  await page.getByRole('button', { name: /^Add a contestant/ }).click();
  await page.waitForTimeout(500);
  await capture(page, 'task-add-contestant');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: /^Measure Base/ }).click();
  await expect(boardRow(page, 'Base')).toContainText('n = 6', { timeout: 120_000 });
  await goTo(page, 'Data');
  await capture(page, 'data-full');

  await goTo(page, 'Prompt');
  await page.getByLabel(/^What the model is told/).fill('Answer in one sentence.');
  await page.keyboard.press('Control+Enter');
  const versions = page.getByRole('complementary', { name: 'Versions' });
  await expect(versions).toContainText('n = 6', { timeout: 120_000 });
  await page.getByLabel(/^What the model is told/).fill('Answer the question in one short sentence.');
  await page.getByRole('button', { name: /^Draw/ }).click();
  await page.waitForTimeout(800);
  await capture(page, 'prompt-full');

  await goTo(page, 'Train');
  await expect(page.getByText('GPU memory').first()).toBeVisible();
  await capture(page, 'train-plan');
  await setSetting(page, /epochs/, '60');
  await page.getByRole('button', { name: /^Train LoRA/ }).click();
  await expect(page.getByText(/^Step \d{2,} of/).first()).toBeVisible({ timeout: 60_000 });
  await capture(page, 'train-running');
  await page
    .getByRole('button', { name: 'Stop and keep best' })
    .click({ timeout: 5000 })
    .catch(() => undefined);
  await expect(page.getByRole('button', { name: 'Stop and keep best' })).toBeHidden({ timeout: 120_000 });
  await expect(page.getByRole('contentinfo')).not.toContainText('Measuring', { timeout: 60_000 });
  await capture(page, 'train-done');

  await goTo(page, 'Task');
  await expect(boardRow(page, 'LoRA')).toContainText('n = 6');
  await capture(page, 'task-board');
  await boardRow(page, 'LoRA').getByRole('button', { name: /^Open/ }).click();
  await page.waitForTimeout(800);
  await capture(page, 'task-board-opened');
  await goTo(page, 'Chat');
  await ask(page, 'Where does Max sleep?');
  await capture(page, 'chat-columns');
  await goTo(page, 'Export');
  await page.waitForTimeout(500);
  await capture(page, 'export-full');
  await page.getByRole('button', { name: 'How to load it' }).first().click();
  await capture(page, 'export-how');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+k');
  await page.waitForTimeout(200);
  await capture(page, 'find');
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await page.waitForTimeout(200);
  await capture(page, 'keys');
  console.log(violations.length === 0 ? 'axe: nothing serious on any screen.' : violations.join('\n'));
  expect(violations).toEqual([]);
});

test.describe('a device that was never here', () => {
  test.use({ storageState: { cookies: [], origins: [] } });

  test('the first visit and its tour', async ({ page }) => {
    mkdirSync(FOLDER, { recursive: true });
    await page.goto('/');
    await expect(boardRow(page, 'System prompt')).toBeVisible({ timeout: 60_000 });
    await capture(page, 'first-visit');
    await page.getByRole('button', { name: 'Follow the six stops' }).click();
    await capture(page, 'first-visit-tour');
    await page.getByRole('button', { name: /^Measure what is missing/ }).click();
    await expect(boardRow(page, 'Four shots')).toContainText('of 40', { timeout: 240_000 });
    await expect(page.getByRole('contentinfo')).not.toContainText('Measuring', { timeout: 60_000 });
    await capture(page, 'first-visit-measured');
    await goTo(page, 'Data');
    await page.waitForTimeout(800);
    await capture(page, 'first-visit-data');
    await goTo(page, 'Chat');
    await capture(page, 'first-visit-chat');
    console.log(violations.length === 0 ? 'axe: nothing serious on any screen.' : violations.join('\n'));
    expect(violations).toEqual([]);
  });
});
