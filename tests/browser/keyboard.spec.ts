// The main path without a pointer: everything is reached by Tab and pressed by key; only the choice of files, which is the browser's own window, is not.
import { expect, type Page, test } from '@playwright/test';
import { openSite, smallModel } from '../support/screens.ts';
import { boardRow, ROWS } from '../support/site.ts';

const focused = (page: Page): Promise<string> =>
  page.evaluate(() => {
    const at = document.activeElement;
    if (at === null || at === document.body) return '';
    const label =
      at.getAttribute('aria-label') ??
      (at.id === '' ? null : (document.querySelector(`label[for="${CSS.escape(at.id)}"]`)?.textContent ?? null));
    return `${at.tagName.toLowerCase()} ${(label ?? at.textContent ?? '').trim().replaceAll(/\s+/g, ' ')}`;
  });
/** Presses Tab until the focus is on what is wanted. What Tab does not reach cannot be reached. */
async function tabTo(page: Page, wanted: RegExp, key: 'Tab' | 'Shift+Tab' = 'Tab', most = 90): Promise<void> {
  const seen: string[] = [];
  for (let i = 0; i < most; i++) {
    const at = await focused(page);
    if (wanted.test(at)) return;
    seen.push(at);
    await page.keyboard.press(key);
  }
  throw new Error(`Tab did not reach ${wanted}: ${seen.join(' > ')}`);
}
async function go(page: Page, screen: string): Promise<void> {
  await page.keyboard.press('Control+k');
  await expect(page.getByRole('dialog', { name: 'Find' })).toBeVisible();
  await page.keyboard.type(screen);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog', { name: 'Find' })).toBeHidden();
  // After a change of screen the heading has the focus.
  await expect(page.locator('main h1')).toBeFocused();
}

test('the whole main path by keyboard', async ({ browser }) => {
  const { context, page } = await openSite(browser);

  await page.keyboard.press('?');
  await expect(page.getByRole('dialog')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toBeHidden();

  await tabTo(page, /^a Models$/);
  await page.keyboard.press('Enter');
  await expect(page.locator('main h1')).toBeFocused();
  // Asked for well before the key: the browser must know by then that the test answers the chooser.
  const chooser = page.waitForEvent('filechooser');
  await tabTo(page, /^button Choose files/);
  await page.keyboard.press('Enter');
  await (await chooser).setFiles([...smallModel().files]);
  await tabTo(page, /^button Keep .* on this device/);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('rowheader', { name: /on the GPU/ })).toBeVisible({ timeout: 60_000 });

  await go(page, 'Task');
  await tabTo(page, /^textarea Paste from a spreadsheet/);
  await page.keyboard.insertText(ROWS);
  await page.keyboard.press('Control+Enter');
  await expect(page.getByRole('button', { name: /^Add 12 rows/ })).toBeVisible();
  await page.keyboard.press('Control+Enter');
  await expect(page.getByRole('heading', { name: 'The board' })).toBeVisible();
  await tabTo(page, /^button Measure Base/);
  await page.keyboard.press('Enter');
  await expect(boardRow(page, 'Base')).toContainText('n = 6', { timeout: 60_000 });

  await go(page, 'Prompt');
  await tabTo(page, /^textarea What the model is told/);
  await page.keyboard.type('Be short.');
  await page.keyboard.press('Control+Enter');
  await expect(page.getByRole('complementary', { name: 'Versions' })).toContainText('n = 6', { timeout: 60_000 });

  await go(page, 'Train');
  await expect(page.getByRole('button', { name: /^Train LoRA, / })).toBeVisible({ timeout: 30_000 });
  await page.keyboard.press('Control+Enter');
  await expect(page.getByRole('button', { name: 'Stop and keep best' })).toBeVisible();
  await expect(page.getByText(/The best checkpoint so far scores/)).toBeVisible({ timeout: 60_000 });
  await page.keyboard.press('Escape');
  await expect(page.getByRole('button', { name: 'Stop and keep best' })).toBeHidden({ timeout: 30_000 });
  await expect(page.getByRole('contentinfo')).not.toContainText('Measuring', { timeout: 60_000 });

  await go(page, 'Task');
  await tabTo(page, /^button Open (LoRA|Base|Prompt 1)/);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('group', { name: 'Show examples' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('group', { name: 'Show examples' })).toBeHidden();
  expect(await focused(page)).toMatch(/^button Open/);

  await go(page, 'Chat');
  await tabTo(page, /^textarea Message/);
  await page.keyboard.type('Where is Max?');
  await page.keyboard.press('Control+Enter');
  await expect(page.locator('.turn .meta').first()).toBeVisible({ timeout: 60_000 });
  await expect(page.getByRole('button', { name: /^Send/ })).toBeVisible({ timeout: 60_000 });

  await go(page, 'Export');
  await tabTo(page, /^select Contestant/);
  await page.keyboard.type('LoRA');
  await tabTo(page, /^button Save/);
  const download = page.waitForEvent('download');
  await page.keyboard.press('Enter');
  expect((await download).suggestedFilename()).toBe('lora.zip');
  await context.close();
});
