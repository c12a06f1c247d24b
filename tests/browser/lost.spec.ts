// A GPU that dies, a tab that closes, a second tab: each is said, and what was there is still there.
import { type Browser, chromium, expect, type Page, test } from '@playwright/test';
import { picture } from '../support/picture.ts';
import { expectCode, kept, openSite, smallModel, startTraining } from '../support/screens.ts';
import { ask, boardRow, goTo, ROWS } from '../support/site.ts';

/** Ends the browser's GPU process, as a driver that fails does. */
async function crashGpu(page: Page): Promise<void> {
  const browser = page.context().browser();
  if (browser === null) throw new Error('The page has no browser.');
  const cdp = await browser.newBrowserCDPSession();
  await cdp.send('Browser.crashGpuProcess').catch(() => undefined);
  await cdp.detach().catch(() => undefined);
}
const LONG: readonly (readonly [RegExp, string])[] = [
  [/epochs/, '200'],
  [/effective batch size/, '1'],
  [/validations a run/, '100'],
  [/validations without a better one/, '0'],
];
/** Waits until a run has a best that is safe. */
async function untilBest(page: Page): Promise<void> {
  await expect(page.getByText(/The best checkpoint so far scores/)).toBeVisible({ timeout: 120_000 });
}
async function longerAnswers(page: Page): Promise<void> {
  await goTo(page, 'Task');
  await page.getByRole('button', { name: 'Change the score' }).click();
  await page.getByLabel(/^Longest answer, tokens/).fill('180');
  await page.getByRole('button', { name: 'Change', exact: true }).last().click();
}

/** A browser of its own: after two crashes a browser gives its pages no GPU any more, and the specs after this one need theirs. */
async function ownBrowser(use: (browser: Browser, baseURL: string) => Promise<void>): Promise<void> {
  const { launchOptions, baseURL } = test.info().project.use;
  const browser = await chromium.launch(launchOptions);
  try {
    await use(browser, baseURL ?? '');
  } finally {
    await browser.close();
  }
}
const loaded = (page: Page) =>
  expect(page.getByRole('row', { name: new RegExp(smallModel().name) })).toContainText('on the GPU', { timeout: 60_000 });

test('a GPU that dies while rows are scored is said, nothing is lost, and a new worker goes on', async () => {
  await ownBrowser(async (browser, baseURL) => {
    const { page } = await openSite(browser, { model: smallModel(), rows: ROWS }, baseURL);
    await longerAnswers(page);
    await page.getByRole('button', { name: /^Measure Base/ }).click();
    await expect(page.getByRole('button', { name: 'Stop and keep what is done' })).toBeVisible();
    await crashGpu(page);
    const message = await expectCode(page, 'gpu/lost', 30_000);
    await expect(message).toContainText('what was saved is safe');
    await picture(page, 'gpu-lost-scoring');
    await expect(page.getByRole('button', { name: 'Stop and keep what is done' })).toBeHidden({ timeout: 30_000 });
    const after = await kept(page);
    expect(after.rows).toBe(12);
    expect(after.models).toHaveLength(1);
    await goTo(page, 'Models');
    await page.getByRole('button', { name: 'Load', exact: true }).click();
    await loaded(page);
    await goTo(page, 'Chat');
    await page.getByLabel('Longest answer').fill('4');
    expect(await ask(page, 'Where is Max?')).toHaveLength(1);
  });
});

test('a GPU that dies while a model is loaded is said, the model stays, and loads in a new worker', async () => {
  await ownBrowser(async (browser, baseURL) => {
    const { page } = await openSite(browser, {}, baseURL);
    // Reading goes on until the GPU is gone: the first slice of the weights is held back for as long.
    await page.route(/assets\/engine-.*\.js$/, async (route) => {
      const answer = await route.fetch();
      const shim = `
        const write = GPUQueue.prototype.writeBuffer, channel = new BroadcastChannel('loading');
        let told = false;
        GPUQueue.prototype.writeBuffer = function (...args) { if (!told) { told = true; channel.postMessage('begun'); } write.apply(this, args); };
        const slice = Blob.prototype.arrayBuffer;
        Blob.prototype.arrayBuffer = async function () { if (told && this.size > 1000) await new Promise((done) => setTimeout(done, 1500)); return slice.call(this); };
      `;
      await route.fulfill({ response: answer, body: `${shim}\n${await answer.text()}` });
    });
    await page.reload();
    await goTo(page, 'Models');
    await page.setInputFiles('[data-pick="files"]', [...smallModel().files]);
    await page.getByLabel('Name').fill(smallModel().name);
    const begun = page.evaluate(
      () =>
        new Promise<void>((resolve) => {
          new BroadcastChannel('loading').onmessage = () => resolve();
        }),
    );
    await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
    await begun;
    await crashGpu(page);
    const message = await expectCode(page, 'gpu/lost', 30_000);
    await expect(message).toContainText('Load the model again; what was saved is safe.');
    await picture(page, 'gpu-lost-loading');
    expect((await kept(page)).models).toEqual([smallModel().name]);
    await page.unroute(/assets\/engine-.*\.js$/);
    const load = page.getByRole('button', { name: 'Load', exact: true });
    await expect(load).toBeEnabled({ timeout: 30_000 });
    await load.click();
    await loaded(page);
  });
});

test('a GPU that dies while it trains: the best is kept, and the model loads again', async () => {
  await ownBrowser(async (browser, baseURL) => {
    const { page } = await openSite(browser, { model: smallModel(), rows: ROWS }, baseURL);
    await startTraining(page, LONG);
    await untilBest(page);
    await crashGpu(page);
    await expectCode(page, 'gpu/lost', 30_000);
    await picture(page, 'gpu-lost-training');
    await expect(page.getByRole('button', { name: 'Stop and keep best' })).toBeHidden({ timeout: 30_000 });
    await expect(async () => {
      expect((await kept(page)).runs).toMatchObject([{ status: 'stopped', checkpoint: false, contestantId: expect.any(String) }]);
    }).toPass({ timeout: 20_000 });
    await page.reload();
    await goTo(page, 'Task');
    await expect(boardRow(page, 'LoRA')).toBeVisible();
    await goTo(page, 'Chat');
    await page.getByLabel('Longest answer').fill('4');
    expect(await ask(page, 'Where is Max?')).toHaveLength(2);
  });
});

/** The second tab sees the run of the first go on, may not use the GPU, and works on with all that needs none. */
async function watches(second: Page): Promise<void> {
  const foot = second.getByRole('contentinfo');
  await expect(foot).toContainText(/Another tab: Training\sLoRA: step \d+ of \d+/, { timeout: 30_000 });
  const step = async () => Number(/step (\d+)/.exec((await foot.textContent()) ?? '')?.[1]);
  const before = await step();
  await expect(async () => expect(await step()).toBeGreaterThan(before)).toPass();
  await expect(second.getByText('Goes on in another tab, watched here')).toBeVisible();
  const run = second.locator('.runcard');
  await expect(run).toContainText(/Step \d+ of \d+/);
  await expect(run).toContainText('can be stopped there');
  await picture(second, 'second-tab-watches');
  await expect(second.getByRole('button', { name: 'Stop and keep best' })).toBeHidden();
  await expect(second.getByRole('button', { name: /^Train LoRA/ })).toBeDisabled();
  await expect(second.getByText('The GPU is at work for another tab; what runs is named at the foot of the page.')).toBeVisible();
  await goTo(second, 'Chat');
  await expect(second.getByText('The GPU is at work for another tab; what runs is named at the foot of the page.')).toBeVisible();
  // What needs the GPU is refused with its reason, wherever it is asked for.
  await goTo(second, 'Models');
  await second.getByRole('button', { name: /^(Load|Use in this task)$/ }).click();
  const refused = await expectCode(second, 'engine/other-tab', 30_000);
  await expect(refused).toContainText('The GPU is at work for another tab.');
  // Rows need no GPU.
  await goTo(second, 'Data');
  await second.getByRole('button', { name: 'Edit row 1', exact: true }).click();
  await second.getByLabel(/^What should come out/).fill('A robot named Zed.');
  await second.getByRole('button', { name: 'Save the row' }).click();
  await expect(second.getByRole('cell', { name: 'A robot named Zed.' })).toBeVisible();
  await goTo(second, 'Train');
  await expect(second.locator('.runcard')).toContainText(/Step \d+ of \d+/);
}

test('a tab that trains asks before it closes; closed, its run is stopped and its best kept; a second tab watches meanwhile', async ({
  browser,
}) => {
  const { context, page } = await openSite(browser, { model: smallModel(), rows: ROWS });
  await startTraining(page, LONG);
  await untilBest(page);

  const second = await context.newPage();
  await second.goto('/');
  await goTo(second, 'Train');
  await watches(second);
  await second.close();

  const asked = new Promise<string>((resolve) => {
    page.once('dialog', (dialog) => {
      resolve(dialog.type());
      void dialog.dismiss();
    });
  });
  await page.bringToFront();
  await page.close({ runBeforeUnload: true });
  expect(await asked).toBe('beforeunload');
  // Dismissed: it goes on.
  await expect(page.getByRole('button', { name: 'Stop and keep best' })).toBeVisible();
  const closed = new Promise<void>((resolve) => page.once('close', () => resolve()));
  page.once('dialog', (dialog) => void dialog.accept());
  await page.close({ runBeforeUnload: true });
  await closed;

  const later = await context.newPage();
  await later.goto('/');
  await goTo(later, 'Task');
  await expect(boardRow(later, 'LoRA')).toBeVisible({ timeout: 30_000 });
  expect((await kept(later)).runs).toMatchObject([{ status: 'stopped', checkpoint: false, contestantId: expect.any(String) }]);
  await goTo(later, 'Train');
  await expect(later.getByText('stopped, its best kept')).toBeVisible();
  // Nothing is asked where nothing runs.
  let askedAgain = false;
  later.on('dialog', (dialog) => {
    askedAgain = true;
    void dialog.accept();
  });
  await later.close({ runBeforeUnload: true });
  await expect(() => expect(later.isClosed()).toBe(true)).toPass();
  expect(askedAgain).toBe(false);
  await context.close();
});
