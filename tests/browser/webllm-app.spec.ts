// The model of the site in web-llm, in the app: prepared, asked, scored and left again, with every other origin blocked.
import { expect, type Locator, type Page, test } from '@playwright/test';
import { kept } from '../support/screens.ts';
import { ask, boardRow, goTo, pasteRows } from '../support/site.ts';
import { watchTraffic } from '../support/traffic.ts';

const QUESTION = 'Who lives in the red house?';

/** Other origins are not reachable, and every try is counted. */
async function offline(page: Page, origin: string): Promise<readonly string[]> {
  await page.context().route('**/*', (route) => {
    const url = route.request().url();
    return url.startsWith(origin) || url.startsWith('blob:') ? route.continue() : route.abort();
  });
  return watchTraffic(page.context(), origin).foreign;
}

const runsIn = (page: Page): Locator => page.getByRole('row', { name: /Runs in/ });
async function answerBy(page: Page, column: number, runtime: 'web-llm' | 'our engine'): Promise<void> {
  await page.getByLabel('Runs in').nth(column).selectOption({ label: runtime });
}
const metaOf = (page: Page, column: number): Locator => page.locator('.turn').last().locator('article').nth(column);

test('the model of the site answers and is scored in web-llm, with what was trained here, and trains again', async ({ page, baseURL }) => {
  test.setTimeout(420_000);
  const foreign = await offline(page, baseURL ?? '');
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto('/');

  await test.step('its row says that it can be run in web-llm, and makes what that needs', async () => {
    await goTo(page, 'Models');
    await page.getByRole('button', { name: /^Fetch it/ }).click();
    await expect(page.getByRole('row', { name: /Vale micro/ })).toContainText('on the GPU', { timeout: 60_000 });
    await expect(runsIn(page)).toContainText('the library of its shape lies beside this page');
    await runsIn(page)
      .getByRole('button', { name: /^Make its copy for web-llm/ })
      .click();
    await expect(runsIn(page)).toContainText('q0f32', { timeout: 60_000 });
    await expect(runsIn(page)).toContainText('of GPU memory');
    await runsIn(page).getByRole('button', { name: 'Load into web-llm' }).click();
    await expect(runsIn(page)).toContainText('loaded now', { timeout: 180_000 });
  });

  await test.step('a column of Chat is answered by web-llm as by our engine', async () => {
    await pasteRows(page);
    await goTo(page, 'Chat');
    await page.getByLabel('Longest answer').fill('12');
    const [ours] = await ask(page, QUESTION);
    await expect(metaOf(page, 0)).toContainText('by our engine');
    await page.getByRole('button', { name: 'Start anew' }).click();
    await answerBy(page, 0, 'web-llm');
    const [theirs] = await ask(page, QUESTION);
    await expect(metaOf(page, 0)).toContainText('by web-llm');
    expect(theirs).toBe(ours);
  });

  await test.step('Base is scored by web-llm, and the board says so', async () => {
    await goTo(page, 'Task');
    await page.getByRole('radio', { name: 'web-llm' }).check();
    await page
      .getByRole('button', { name: /^Measure (Base|what is missing)/ })
      .first()
      .click();
    await expect(boardRow(page, 'Base')).toContainText('by web-llm', { timeout: 120_000 });
    await expect(page.getByText('greedy decoding, answered by web-llm')).toBeVisible();
  });

  await test.step('what web-llm kept is freed, and the model stays', async () => {
    await goTo(page, 'Models');
    await runsIn(page)
      .getByRole('button', { name: /^Free its copy/ })
      .click();
    await expect(runsIn(page)).toContainText('the library of its shape lies beside this page');
    const { files } = await kept(page);
    expect(files.filter(({ name }) => !/json$/.test(name))).toHaveLength(1);
  });
  expect(errors).toEqual([]);
  expect(foreign).toEqual([]);
});
