// The first visit: the site opens with its own model and a sample task, with nothing but this site's own files.
import { availableParallelism, loadavg } from 'node:os';
import AxeBuilder from '@axe-core/playwright';
import { type Browser, chromium, expect, type Page, test } from '@playwright/test';
import { expectCode, kept } from '../support/screens.ts';
import { ask, boardRow, goTo, pasteRows } from '../support/site.ts';
import { watchTraffic } from '../support/traffic.ts';

test.use({ storageState: { cookies: [], origins: [] } });

const FIRST_SCREEN_SECONDS = 1;
const FIRST_ANSWER_SECONDS = 5;
const MODEL = /models\/.*\.gguf$/;

/** The first visit stands: the sample's board with its contestants. */
async function opened(page: Page): Promise<void> {
  await page.goto('/');
  await expect(boardRow(page, 'System prompt')).toBeVisible({ timeout: 30_000 });
}

/** Seconds of a page that was never opened before: to its first paint, and to the first words of an answer of its model. */
async function coldPage(browser: Browser, origin: string): Promise<{ paint: number; answer: number }> {
  const context = await browser.newContext();
  const traffic = watchTraffic(context, origin);
  const requests: string[] = [];
  context.on('request', (request) => requests.push(request.url()));
  const page = await context.newPage();
  const started = performance.now();
  await page.goto('/');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await goTo(page, 'Chat');
  await page.getByLabel('Temperature').fill('0');
  await page.getByLabel(/^Message/).fill('The home of Cora is Calder. Walt keeps a wren. Who has a wren at home?');
  await page.getByRole('button', { name: /^Send/ }).click();
  await expect(page.locator('.turn [data-answer]').first()).toContainText('Walt', { timeout: 30_000 });
  const answer = (performance.now() - started) / 1000;
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? Number.POSITIVE_INFINITY);
  await expect(page.getByText('is a demo: it knows only the Vale')).toBeVisible();
  expect(requests.filter((url) => MODEL.test(url))).toHaveLength(1);
  expect(traffic.foreign).toEqual([]);
  await context.close();
  return { paint: paint / 1000, answer };
}

test('a cold page draws its first screen in under 1 s and answers in under 5 s, with no other origin asked', { tag: '@alone' }, async ({
  browser,
  baseURL,
}) => {
  const [load = 0] = loadavg();
  // The claim is about the page: of three, the one that the machine's other work disturbed least.
  const pages = [];
  for (let i = 0; i < 3; i++) pages.push(await coldPage(browser, baseURL ?? ''));
  console.log(pages.map(({ paint, answer }) => `first screen ${paint.toFixed(2)} s, first answer ${answer.toFixed(2)} s`).join('; '));
  // The page, Node, and the browser's GPU process fill two cores by themselves; other work beside them is another measurement.
  if (load > availableParallelism()) {
    console.log(
      `SKIPPED: the limits of ${FIRST_SCREEN_SECONDS} s and ${FIRST_ANSWER_SECONDS} s; the machine was at load ${load.toFixed(1)} before.`,
    );
    return;
  }
  expect(Math.min(...pages.map(({ paint }) => paint))).toBeLessThan(FIRST_SCREEN_SECONDS);
  expect(Math.min(...pages.map(({ answer }) => answer))).toBeLessThan(FIRST_ANSWER_SECONDS);
});

test('the board opens with Base, a prompt, shots and LoRA, none of them measured; a second visit makes nothing anew', async ({ page }) => {
  await opened(page);
  for (const name of ['Base', 'System prompt', 'Four shots']) await expect(boardRow(page, name)).toContainText('not measured');
  await expect(boardRow(page, 'LoRA')).toContainText('not made');
  await expect(page.getByText('is a demo that knows only its own invented world')).toBeVisible();
  await page.reload();
  await expect(boardRow(page, 'Base')).toBeVisible();
  const before = await kept(page);
  expect(before.tasks).toHaveLength(1);
  expect(before.models).toEqual(['Vale micro']);
  await goTo(page, 'Models');
  // Held as its file is: one of the choices, with its memory, and named once.
  const row = page.getByRole('row', { name: /Vale micro/ });
  await expect(row.getByRole('option').nth(2)).toBeAttached();
  await expect(row).not.toContainText('–');
  const ways = await row.getByRole('option').allTextContents();
  expect(new Set(ways.map((way) => way.split(',')[0])).size).toBe(ways.length);
  // Deleted is deleted; it comes back when it is asked for.
  await page.getByRole('button', { name: 'Remove…' }).click();
  await page.getByRole('button', { name: /^Remove, free/ }).click();
  await expect(page.getByRole('heading', { name: 'The demo model' })).toBeVisible();
  expect((await kept(page)).models).toEqual([]);
  await page.reload();
  await page.getByRole('button', { name: /^Fetch it/ }).click();
  await expect(page.getByRole('row', { name: /Vale micro/ })).toContainText('on the GPU', { timeout: 30_000 });
  expect((await kept(page)).tasks).toHaveLength(1);
});

test('rows of one’s own start an empty task beside the sample, and other samples open from Data', async ({ page }) => {
  await opened(page);
  await goTo(page, 'Data');
  await page.getByRole('button', { name: /^Open the sample Send each note/ }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Send each note to its team' })).toBeVisible({ timeout: 30_000 });
  await page.getByRole('button', { name: 'on this device' }).click();
  await page.getByRole('button', { name: /^Open Answer from a passage, as JSON/ }).click();
  await page.getByRole('button', { name: 'Start with your own rows' }).click();
  await expect(page.getByLabel('Paste from a spreadsheet')).toBeVisible();
  expect((await kept(page)).tasks).toHaveLength(3);
});

test('the tour starts when it is asked for, goes on over a reload, and can be left', async ({ page }) => {
  await opened(page);
  const tour = page.getByRole('list', { name: 'Tour, six stops' });
  await expect(tour.locator('[aria-current="step"]')).toHaveCount(0);
  await page.getByRole('button', { name: 'Follow the six stops' }).focus();
  await page.keyboard.press('Enter');
  await expect(tour.locator('[aria-current="step"]')).toContainText('Data');
  await tour.getByRole('link', { name: 'Go to the rows' }).click();
  const bar = page.getByRole('region', { name: 'Tour' });
  await expect(bar).toContainText('120 to train on');
  await bar.getByRole('button', { name: 'Next stop' }).click();
  await expect(bar).toContainText('Preview');
  await page.reload();
  await expect(bar).toContainText('Preview');
  await bar.getByRole('button', { name: 'Next stop' }).click();
  await expect(tour.locator('[aria-current="step"]')).toContainText('Baseline');
  await tour.getByRole('button', { name: 'Leave the tour' }).click();
  await expect(tour.locator('[aria-current="step"]')).toHaveCount(0);
  await page.reload();
  await page.getByRole('button', { name: 'Go on with the tour, stop 3' }).click();
  await expect(tour.locator('[aria-current="step"]')).toContainText('Baseline');
});

test('the first visit and the tour are readable otherwise, in light and dark, wide and narrow', async ({ page }) => {
  await opened(page);
  await page.getByRole('button', { name: 'Follow the six stops' }).click();
  const found: string[] = [];
  for (const place of ['Task', 'Data'] as const) {
    await goTo(page, place);
    for (const [colorScheme, width] of [
      ['light', 1440],
      ['dark', 1440],
      ['light', 320],
    ] as const) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      const { violations } = await new AxeBuilder({ page }).analyze();
      for (const { id, impact, nodes } of violations)
        if (impact === 'serious' || impact === 'critical')
          found.push(`${place} ${colorScheme} ${width}: ${id} ${nodes[0]?.target.join(' ')}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      if (wide > width) found.push(`${place} ${width}: it scrolls sideways, ${wide}`);
    }
    await page.setViewportSize({ width: 1440, height: 1000 });
  }
  expect(found).toEqual([]);
});

test('a model file that was changed on the way is not kept, and the sample opens without it', async ({ page }) => {
  await page.route(MODEL, async (route) => {
    const answer = await route.fetch();
    const body = await answer.body();
    body[1000] = (body[1000] ?? 0) ^ 1;
    await route.fulfill({ response: answer, body });
  });
  await page.goto('/');
  await expectCode(page, 'download/damaged', 30_000);
  await expect(boardRow(page, 'System prompt')).toBeVisible({ timeout: 30_000 });
  expect((await kept(page)).models).toEqual([]);
  await page.unroute(MODEL);
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect(boardRow(page, 'Base')).toBeVisible({ timeout: 30_000 });
  const after = await kept(page);
  expect(after.models).toEqual(['Vale micro']);
  expect(after.tasks).toHaveLength(1);
});

test('what a person makes while the demo model is fetched stays on the screen', async ({ page }) => {
  let go: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    go = resolve;
  });
  await page.route(MODEL, async (route) => {
    await held;
    await route.continue();
  });
  await page.goto('/');
  await pasteRows(page);
  await expect(page.getByRole('heading', { level: 1, name: 'My task' })).toBeVisible();
  go();
  await expect(page.getByRole('contentinfo')).toContainText('Vale micro', { timeout: 60_000 });
  // The first visit is over when that is remembered.
  await expect.poll(() => page.evaluate(() => localStorage.getItem('maquette.first-use')), { timeout: 30_000 }).toBe('done');
  await expect(page.getByRole('heading', { level: 1, name: 'My task' })).toBeVisible();
  expect((await kept(page)).tasks).toEqual(['My task']);
});

/** The rest of the site works: the sample's rows are there, and a prompt is kept. */
async function restIsUsable(page: Page): Promise<void> {
  await goTo(page, 'Data');
  await expect(page.getByRole('table').getByRole('row').nth(3)).toBeVisible();
  await goTo(page, 'Prompt');
  await page.getByLabel(/^What the model is told/).fill('Answer in one word.');
  await goTo(page, 'Train');
  await page.reload();
  await goTo(page, 'Prompt');
  await expect(page.getByLabel(/^What the model is told/)).toHaveValue('Answer in one word.');
}

test('a first visit without WebGPU: the sample stands, and what is missing is said with its code and what to do', async ({ baseURL }) => {
  const executablePath = process.env.CHROME_PATH;
  const browser = await chromium.launch({
    ...(executablePath === undefined ? {} : { executablePath }),
    args: ['--no-sandbox', '--disable-features=WebGPU', '--disable-gpu'],
  });
  const page = await (await browser.newContext({ baseURL: baseURL ?? '' })).newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await opened(page);
  const message = await expectCode(page, 'gpu/unavailable');
  await expect(message).toContainText('measuring and training need a GPU');
  await expect(message).toContainText(/Chrome or Edge \d+/);
  await expect(page.getByRole('button', { name: /^Measure Base/ })).toHaveCount(0);
  await restIsUsable(page);
  await goTo(page, 'Task');
  await page.getByRole('button', { name: 'Start with your own rows' }).click();
  await expect(page.getByLabel('Paste from a spreadsheet')).toBeVisible();
  expect(errors).toEqual([]);
  await browser.close();
});

test('a first visit where the browser refuses its file system: the sample stands without the model', async ({ page }) => {
  // As some private windows do: it is there and says no. In the page and in the engine's worker.
  const refuse = `StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException('Security error when calling getDirectory', 'SecurityError'));`;
  await page.addInitScript(refuse);
  await page.route(/assets\/engine-.*\.js$/, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: `${refuse}\n${await answer.text()}` });
  });
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto('/');
  const message = await expectCode(page, 'storage/unavailable', 30_000);
  await expect(message).toContainText('private windows');
  await expect(message).toContainText('Open the page in an ordinary window');
  await expect(boardRow(page, 'System prompt')).toBeVisible({ timeout: 30_000 });
  await expect(page.getByText(/million weights that belongs to it is not on this device/)).toBeVisible();
  await expect(page.getByText(/^Loaded:/)).toHaveCount(0);
  await restIsUsable(page);
  expect(errors).toEqual([]);
});

test('a first visit where the model file is blocked: the sample stands without it, and it comes when it is asked for', async ({ page }) => {
  await page.route(MODEL, (route) => route.abort());
  await page.goto('/');
  const message = await expectCode(page, 'download/missing', 30_000);
  await expect(message).toContainText('Check that the site is reachable');
  await expect(boardRow(page, 'System prompt')).toBeVisible({ timeout: 30_000 });
  await expect(page.getByText(/million weights that belongs to it is not on this device/)).toBeVisible();
  await restIsUsable(page);
  await page.unroute(MODEL);
  await goTo(page, 'Models');
  await page.getByRole('button', { name: /^Fetch it/ }).click();
  await expect(page.getByRole('row', { name: /Vale micro/ })).toContainText('on the GPU', { timeout: 60_000 });
});

test('rows of one’s own under the demo model: the board says that its scores there mean nothing', async ({ page }) => {
  await opened(page);
  await page.getByRole('button', { name: 'Start with your own rows' }).click();
  await pasteRows(page);
  await expect(page.getByText('These rows are not of the one invented world')).toBeVisible();
});

test('a new person’s first ten minutes: a cold page, an answer, an adapter trained at one click, and its file saved', {
  tag: '@long',
}, async ({ page }) => {
  const LIMIT_SECONDS = 600;
  test.setTimeout(1000 * LIMIT_SECONDS);
  const started = performance.now();
  const times: string[] = [];
  const lap = (what: string): number => times.push(`${what} ${((performance.now() - started) / 1000).toFixed(1)} s`);
  await opened(page);
  lap('board');
  await goTo(page, 'Chat');
  const [answer] = await ask(page, 'The home of Cora is Calder. Walt keeps a wren. Who has a wren at home?');
  expect(answer).toContain('Walt');
  lap('first answer');
  await goTo(page, 'Task');
  await page.getByRole('button', { name: 'Train LoRA now' }).click();
  await expect(boardRow(page, 'LoRA')).toContainText('checkpoint chosen on these rows', { timeout: 1000 * LIMIT_SECONDS });
  lap('adapter trained and on the board');
  await goTo(page, 'Export');
  await page.getByLabel('Contestant').selectOption({ label: 'LoRA' });
  const waiting = page.waitForEvent('download');
  await page.getByRole('article', { name: 'Adapter for PEFT' }).getByRole('button', { name: /^Save/ }).click();
  expect((await waiting).suggestedFilename()).toBe('lora.zip');
  lap('exported');
  console.log(times.join(', '));
  expect((performance.now() - started) / 1000).toBeLessThan(LIMIT_SECONDS);
});
