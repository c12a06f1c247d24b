// The model of the site in web-llm, in the app: prepared, asked, scored with what was trained here and left again, with every other origin blocked.
import path from 'node:path';
import { expect, type Page, test } from '@playwright/test';
import { expectCode, kept, openSite, smallModel } from '../support/screens.ts';
import { addModel, boardRow, goTo, pasteRows, ROWS, setSetting, trainAndWait } from '../support/site.ts';
import { watchTraffic } from '../support/traffic.ts';
import { answerBy, askLong, bringLibrary, columnOf, intoWebllm, runsIn } from '../support/webllm.ts';

const FEW_ROWS = ROWS.split('\n').slice(0, 8).join('\n');
const LIBRARIES = path.resolve(import.meta.dirname, '../webllm/libraries');
const SITE_LIBRARY = path.resolve(import.meta.dirname, '../../public/models/vale-micro/webllm/vale-micro-q0f32-software.wasm.gz');

/** Other origins are not reachable, and every try is counted. */
async function offline(page: Page, origin: string): Promise<readonly string[]> {
  await page.context().route('**/*', (route) => {
    const url = route.request().url();
    return url.startsWith(origin) || url.startsWith('blob:') ? route.continue() : route.abort();
  });
  return watchTraffic(page.context(), origin).foreign;
}

/** Puts another result of the self-test where the one of this device is remembered, and gives that back. */
function rememberSelfTest(page: Page, value: string): Promise<string> {
  return page.evaluate(async (planted) => {
    const done = <T>(request: IDBRequest<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const database = await done(indexedDB.open('maquette'));
    const store = database.transaction('settings', 'readwrite').objectStore('settings');
    const all = await done<{ key: string; value: string }[]>(store.getAll());
    const found = all.find(({ key }) => key.startsWith('web-llm adapters'));
    if (found === undefined) throw new Error('no self-test is remembered');
    await done(store.put({ ...found, value: planted }));
    database.close();
    return found.value;
  }, value);
}
test('the model of the site answers and is scored in web-llm, with what was trained here, and trains again', async ({ page, baseURL }) => {
  test.setTimeout(900_000);
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
    await intoWebllm(page);
  });

  let base = '';
  await test.step('a column of Chat is answered by web-llm as by our engine', async () => {
    await pasteRows(page, FEW_ROWS);
    await goTo(page, 'Chat');
    await page.getByLabel('Longest answer').fill('12');
    const [ours] = await askLong(page);
    await expect(columnOf(page, 0)).toContainText('by our engine');
    await page.getByRole('button', { name: 'Start anew' }).click();
    await answerBy(page, 0, 'web-llm');
    [base = ''] = await askLong(page);
    await expect(columnOf(page, 0)).toContainText('by web-llm');
    expect(base).toBe(ours);
  });

  await test.step('what LoRA learned here changes the answer in web-llm as in our engine', async () => {
    await goTo(page, 'Train');
    await setSetting(page, /epochs/, '30');
    await setSetting(page, /validations a run/, '1');
    await setSetting(page, /validations without a better one/, '0');
    await trainAndWait(page, 300);
    await goTo(page, 'Chat');
    await page.getByRole('button', { name: 'Start anew' }).click();
    await page.getByLabel('Add a column').selectOption({ label: 'LoRA' });
    const [, ours] = await askLong(page);
    expect(ours).not.toBe(base);
    await page.getByRole('button', { name: 'Start anew' }).click();
    await answerBy(page, 1, 'web-llm');
    const [untouched, theirs] = await askLong(page);
    await expect(columnOf(page, 1)).toContainText('by web-llm');
    await expect(columnOf(page, 1)).not.toContainText('Answered by our engine');
    expect(untouched).toBe(base);
    expect(theirs).toBe(ours);
    await page.getByRole('button', { name: 'Start anew' }).click();
    const passed = await rememberSelfTest(page, JSON.stringify({ ok: false, text: 'planted by the test' }));
    expect(JSON.parse(passed)).toEqual({ ok: true, text: '' });
    expect((await askLong(page))[1]).toBe(ours);
    await expect(columnOf(page, 1)).toContainText('Answered by our engine, not by web-llm: planted by the test');
    await expect(columnOf(page, 1)).toContainText('webllm/self-test');
    await rememberSelfTest(page, passed);
    await page.getByRole('button', { name: 'Start anew' }).click();
    await page.getByRole('slider', { name: 'Strength' }).fill('0');
    expect((await askLong(page))[1]).toBe(base);
    await goTo(page, 'Models');
    await expect(runsIn(page)).toContainText(/our engine \d+\stokens/);
    await expect(runsIn(page)).toContainText(/web-llm \d+\stokens/);
  });

  await test.step('LoRA is scored by web-llm beside a Base of our engine: the verdict is marked; then both by web-llm', async () => {
    await goTo(page, 'Task');
    await page
      .getByRole('button', { name: /^Measure (Base|what is missing)/ })
      .first()
      .click();
    await expect(boardRow(page, 'Base')).toContainText('the others are compared with it', { timeout: 120_000 });
    await boardRow(page, 'LoRA').getByRole('button', { name: /^Open/ }).click();
    await page.getByRole('button', { name: 'Answer its rows again by web-llm' }).click();
    await expect(boardRow(page, 'LoRA')).toContainText('by web-llm', { timeout: 240_000 });
    await expect(boardRow(page, 'Base')).toContainText('by our engine');
    await expect(boardRow(page, 'LoRA')).toContainText('across two runtimes');
    await expect(page.locator('#board-note')).toContainText('the same weights, other kernels');
    await boardRow(page, 'LoRA')
      .getByRole('button', { name: /^Close/ })
      .click();
    await boardRow(page, 'Base').getByRole('button', { name: /^Open/ }).click();
    await page.getByRole('button', { name: 'Answer its rows again by web-llm' }).click();
    await expect(boardRow(page, 'Base')).toContainText('by web-llm', { timeout: 240_000 });
    await expect(boardRow(page, 'LoRA')).toContainText(/Better|Worse|Cannot tell/);
    await expect(boardRow(page, 'LoRA')).not.toContainText('across two runtimes');
    await expect(page.getByText('greedy decoding, answered by web-llm')).toBeVisible();
    // Both scores stand: that of the chosen runtime is shown and compared, the other one is named.
    for (const [chosen, other] of [
      ['our engine', 'web-llm'],
      ['web-llm', 'our engine'],
    ] as const) {
      await page
        .getByRole('group', { name: /^Whose scores are shown/ })
        .getByRole('radio', { name: chosen })
        .check();
      await expect(page.getByText(`greedy decoding, answered by ${chosen}`)).toBeVisible();
      for (const name of ['Base', 'LoRA'])
        await expect(boardRow(page, name).locator('.val')).toHaveText(new RegExp(`by ${chosen}.*by ${other}`, 's'));
      await expect(boardRow(page, 'LoRA')).not.toContainText('across two runtimes');
    }
  });

  await test.step('it leaves web-llm, what was kept for it is freed, and it trains again', async () => {
    await goTo(page, 'Models');
    await runsIn(page).getByRole('button', { name: 'Take it out of web-llm' }).click();
    await expect(runsIn(page)).not.toContainText('loaded now');
    await runsIn(page)
      .getByRole('button', { name: /^Free its copy/ })
      .click();
    await expect(runsIn(page)).toContainText('the library of its shape lies beside this page');
    // The model, and the two files of the adapter.
    await expect.poll(async () => (await kept(page)).files.length).toBe(3);
    await goTo(page, 'Train');
    await setSetting(page, /epochs/, '2');
    await trainAndWait(page, 120);
    await goTo(page, 'Task');
    await expect(boardRow(page, 'LoRA')).toHaveCount(2);
  });
  expect(errors).toEqual([]);
  expect(foreign).toEqual([]);
});

test('a library of one’s own: another shape is refused, q0f32 stays the model, q4f32_1 is another one that answers alike in both', async ({
  browser,
}) => {
  test.setTimeout(420_000);
  const { context, page } = await openSite(browser, { model: smallModel() });
  await goTo(page, 'Models');
  await expect(runsIn(page)).toContainText('needs the library of its shape, q0f32 or q4f32_1');
  await page.setInputFiles('[data-pick="library"]', SITE_LIBRARY);
  await expectCode(page, 'mlc/library-shape');

  await page.setInputFiles('[data-pick="library"]', path.join(LIBRARIES, 'llama-q0f32.wasm.gz'));
  await page.getByRole('button', { name: /^Make the copy, / }).click();
  await expect(runsIn(page)).toContainText('q0f32,', { timeout: 60_000 });
  const { models, files } = await kept(page);
  expect(models).toHaveLength(1);
  await runsIn(page)
    .getByRole('button', { name: /^Free its copy/ })
    .click();
  await expect(runsIn(page)).toContainText('needs the library of its shape');
  await expect.poll(async () => (await kept(page)).files.length).toBeLessThan(files.length);

  await page.setInputFiles('[data-pick="library"]', path.join(LIBRARIES, 'llama-q4f32_1.wasm.gz'));
  await expect(page.getByText('that is another model')).toBeVisible();
  await page.getByRole('button', { name: /^Make a new model, / }).click();
  const made = page.getByRole('row', { name: /small llama, q4f32_1/ });
  await expect(made).toBeVisible({ timeout: 60_000 });
  await made.getByRole('button', { name: 'Load' }).click();
  await expect(made).toContainText('on the GPU', { timeout: 60_000 });
  await intoWebllm(page, runsIn(page).filter({ hasText: 'of GPU memory' }));
  await pasteRows(page);
  await goTo(page, 'Chat');
  await page.getByLabel('Longest answer').fill('12');
  const [ours] = await askLong(page);
  expect(ours).not.toBe('');
  await page.getByRole('button', { name: 'Start anew' }).click();
  await answerBy(page, 0, 'web-llm');
  expect(await askLong(page)).toEqual([ours]);
  await context.close();
});

test('where the GPU has no room for both, one leaves for the other, says so, and the next answer is the same', async ({ page }) => {
  test.setTimeout(420_000);
  // A worker of ours begins as a blob of one import: this one also names a device of 3.2 MB, of which half is counted on.
  await page.addInitScript(() => {
    const Original = Blob;
    globalThis.Blob = class extends Original {
      constructor(parts: BlobPart[] = [], options?: BlobPropertyBag) {
        const isWorker = options?.type === 'text/javascript';
        super(isWorker ? [...parts, "Object.defineProperty(navigator, 'deviceMemory', { value: 0.0032 });"] : parts, options);
      }
    };
  });
  await page.goto('/');
  await addModel(page, smallModel());
  await bringLibrary(page, path.join(LIBRARIES, 'llama-q0f32.wasm.gz'));
  await pasteRows(page, FEW_ROWS);
  await goTo(page, 'Chat');
  await page.getByLabel('Longest answer').fill('6');
  const ours = await askLong(page);
  expect(ours).not.toEqual(['']);
  for (const [runtime, said] of [
    ['web-llm', /Our engine left the GPU for web-llm: together they need .* is what is counted on for both\./],
    ['our engine', /Web-llm left the GPU for our engine: together they need/],
  ] as const) {
    await page.getByRole('button', { name: 'Start anew' }).click();
    await answerBy(page, 0, runtime);
    expect(await askLong(page)).toEqual(ours);
    await expect(page.getByText(said)).toBeVisible();
    await expect(columnOf(page, 0)).toContainText(`by ${runtime}`);
  }
});
