// What specs of web-llm inside the app share: its row on the Models screen, who answers a column, and a question asked of all columns.
import { expect, type Locator, type Page } from '@playwright/test';

export const QUESTION = 'Who lives in the red house?';

export const runsIn = (page: Page): Locator => page.getByRole('row', { name: /Runs in/ });
export async function intoWebllm(page: Page, row = runsIn(page)): Promise<void> {
  await row.getByRole('button', { name: 'Load into web-llm' }).click();
  await expect(row).toContainText('loaded now', { timeout: 240_000 });
}
/** Gives the model that is here a library of its shape, from a file. */
export async function bringLibrary(page: Page, file: string): Promise<void> {
  await page.setInputFiles('[data-pick="library"]', file);
  await page.getByRole('button', { name: /^Make the copy, / }).click();
  await expect(runsIn(page)).toContainText('of GPU memory', { timeout: 60_000 });
}
export async function answerBy(page: Page, column: number, runtime: 'web-llm' | 'our engine'): Promise<void> {
  await page.getByLabel('Runs in').nth(column).selectOption({ label: runtime });
}
export const columnOf = (page: Page, column: number): Locator => page.locator('.turn').last().locator('article').nth(column);
/** Asks every column, greedily. A first adapter in web-llm waits for the self-test. */
export async function askLong(page: Page): Promise<string[]> {
  // What was said before stands there again.
  await expect(page.locator('.talk')).toHaveAttribute('aria-busy', 'false');
  await page.getByLabel('Temperature').fill('0');
  const turns = page.locator('.turn');
  const before = await turns.count();
  await page.getByLabel(/^Message/).fill(QUESTION);
  await expect(page.getByRole('button', { name: /^Send/ })).toBeEnabled({ timeout: 60_000 });
  await page.keyboard.press('Control+Enter');
  // It has begun, then it has ended.
  await expect(turns).toHaveCount(before + 1, { timeout: 240_000 });
  await expect(page.getByRole('button', { name: /^Send/ })).toBeVisible({ timeout: 240_000 });
  const answers = await turns.last().locator('[data-answer]').allTextContents();
  return answers.map((text) => text.trim());
}
