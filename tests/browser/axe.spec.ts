// Every screen with things on it, in light and dark, at 1440 and at 320 pixels: nothing serious for people who read otherwise, nothing that scrolls sideways.
import AxeBuilder from '@axe-core/playwright';
import { expect, type Page, test } from '@playwright/test';
import { type Opened, openSite, smallModel } from '../support/screens.ts';
import { ask, boardRow, goTo, pasteRows, ROWS, setSetting, trainAndWait } from '../support/site.ts';

const LOOKS = [
  { scheme: 'light', width: 1440 },
  { scheme: 'dark', width: 1440 },
  { scheme: 'light', width: 320 },
  { scheme: 'dark', width: 320 },
] as const;

async function look(page: Page, what: string): Promise<void> {
  const found: string[] = [];
  for (const { scheme, width } of LOOKS) {
    // Without motion a colour is there at once: what is read midway between light and dark is neither.
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    await page.setViewportSize({ width, height: 900 });
    await page.waitForTimeout(100);
    const axe = new AxeBuilder({ page });
    // Dark differs from light in its colours alone.
    const { violations } = await (scheme === 'dark' ? axe.withRules(['color-contrast']) : axe).analyze();
    for (const { id, impact, nodes } of violations) {
      if (impact !== 'serious' && impact !== 'critical') continue;
      found.push(
        `${what}, ${scheme}, ${width}: ${id} (${nodes.length}) ${nodes[0]?.target.join(' ')} ${nodes[0]?.failureSummary?.split('\n').at(-1)?.trim()}`,
      );
    }
    const wide = await page.evaluate(() => {
      const root = document.documentElement;
      if (root.scrollWidth <= root.clientWidth) return '';
      const over = [...document.querySelectorAll('body *')].filter((node) => node.getBoundingClientRect().right > root.clientWidth + 1);
      return `${root.scrollWidth} > ${root.clientWidth}: ${over
        .slice(-3)
        .map((node) => `${node.tagName}.${node.className}`)
        .join(' ')}`;
    });
    if (wide !== '') found.push(`${what}, ${width}: it scrolls sideways, ${wide}`);
  }
  await page.setViewportSize({ width: 1440, height: 1000 });
  expect.soft(found).toEqual([]);
}

test.describe.configure({ mode: 'serial', timeout: 300_000 });
let opened: Opened;
test.beforeAll(async ({ browser }) => {
  opened = await openSite(browser);
});
test.afterAll(() => opened.context.close());

test('a first visit, and every screen while it is empty', async () => {
  const { page } = opened;
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await look(page, 'first visit');
  for (const screen of ['Data', 'Prompt', 'Train', 'Chat', 'Export', 'Models'] as const) {
    await goTo(page, screen);
    if (screen === 'Models' || screen === 'Data') await look(page, `${screen}, empty`);
  }
});

test('models, rows and a board with an open row', async () => {
  const { page } = opened;
  await page.setInputFiles('[data-pick="files"]', [...smallModel().files]);
  await expect(page.getByLabel('Name')).toBeVisible();
  await look(page, 'Models, files chosen');
  await page.getByLabel('Name').fill('small');
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  await expect(page.getByRole('row', { name: /small/ })).toContainText('on the GPU', { timeout: 60_000 });
  await look(page, 'Models');
  await pasteRows(page, ROWS);
  await page.getByRole('button', { name: /^Measure Base/ }).click();
  await expect(boardRow(page, 'Base')).toContainText('n = 6', { timeout: 60_000 });
  await goTo(page, 'Data');
  await expect(page.getByText(/tokens, \d+ trained/)).toBeVisible();
  await look(page, 'Data');
});

test('a prompt, a run, the board', async () => {
  const { page } = opened;
  await goTo(page, 'Prompt');
  await page.getByLabel(/^What the model is told/).fill('Answer in one sentence.');
  await page.keyboard.press('Control+Enter');
  await expect(page.getByRole('complementary', { name: 'Versions' })).toContainText('n = 6', { timeout: 60_000 });
  await look(page, 'Prompt');
  await goTo(page, 'Train');
  await expect(page.getByRole('button', { name: /^Train LoRA, / })).toBeVisible({ timeout: 30_000 });
  await setSetting(page, /epochs/, '3');
  await setSetting(page, /validations a run/, '3');
  await trainAndWait(page);
  await look(page, 'Train, with a run');
  await goTo(page, 'Task');
  await boardRow(page, 'LoRA').getByRole('button', { name: /^Open/ }).click();
  await expect(page.getByRole('group', { name: 'Show examples' })).toBeVisible();
  await look(page, 'Task, a row opened');
});

test('chat, export, and the dialogs', async () => {
  const { page } = opened;
  await goTo(page, 'Chat');
  await page.getByLabel('Longest answer').fill('12');
  await ask(page, 'Where is Max?');
  await look(page, 'Chat');
  await goTo(page, 'Export');
  await look(page, 'Export');
  await page.keyboard.press('?');
  await expect(page.getByRole('dialog')).toBeVisible();
  await look(page, 'Keys');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toBeHidden();
  await page.keyboard.press('Control+k');
  await expect(page.getByRole('dialog', { name: 'Find' })).toBeVisible();
  await look(page, 'Find');
  await page.keyboard.press('Escape');
});
