import { expect, test } from '@playwright/test';
import { trainAndTakeAway } from '../support/journey.ts';
import { boardRow } from '../support/site.ts';
import { watchTraffic } from '../support/traffic.ts';

test.use({ storageState: { cookies: [], origins: [] } });

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

  await trainAndTakeAway(page, {
    epochs: 6,
    validations: 2,
    seconds: 500,
    isAnswer: (cell) => cell.startsWith('{'),
    scored: 'of 40',
    prompt: 'System prompt',
    exact: true,
  });

  expect(errors).toEqual([]);
  expect(traffic.foreign).toEqual([]);
});
