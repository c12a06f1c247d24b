// Records that are damaged, and a database that the browser lost: both are said, nothing else is touched, and there is something to press.
import { readFileSync } from 'node:fs';
import { expect, type Page, test } from '@playwright/test';
import { picture } from '../support/picture.ts';
import { expectCode, kept, openSite, smallModel } from '../support/screens.ts';
import { boardRow, goTo, pasteRows, ROWS } from '../support/site.ts';

/** Puts a record into the database around the program. */
const put = (page: Page, store: string, record: object): Promise<void> =>
  page.evaluate(
    ([name, value]) =>
      new Promise<void>((resolve, reject) => {
        const opening = indexedDB.open('maquette');
        opening.onsuccess = () => {
          const tx = opening.result.transaction(String(name), 'readwrite');
          tx.objectStore(String(name)).put(value);
          tx.oncomplete = () => {
            opening.result.close();
            resolve();
          };
          tx.onabort = () => reject(tx.error);
        };
      }),
    [store, record] as const,
  );

test('a record that cannot be read is said, saved as a file, and deleted; everything else works', async ({ browser }) => {
  const { context, page } = await openSite(browser, { model: smallModel(), rows: ROWS });
  await put(page, 'tasks', { id: 'torn', name: 7, createdAt: 'yesterday' });
  await page.reload();
  const message = await expectCode(page, 'storage/unreadable');
  await expect(message).toContainText('1 record kept on this device cannot be read. Everything else works.');
  await goTo(page, 'Data');
  await expect(page.getByRole('table').getByRole('row')).toHaveCount(13);
  await goTo(page, 'Models');
  const row = page.getByRole('row', { name: /^a task torn/ });
  await expect(row).toContainText('name');
  await picture(page, 'unreadable-record');
  const download = page.waitForEvent('download');
  await row.getByRole('button', { name: 'Save it as a file' }).click();
  const saved: { id: string; name: number } = JSON.parse(readFileSync(await (await download).path(), 'utf8'));
  expect(saved).toMatchObject({ id: 'torn', name: 7 });
  await row.getByRole('button', { name: 'Delete…' }).click();
  await row.getByRole('button', { name: 'Delete it for good' }).click();
  await expect(page.getByRole('heading', { name: 'Unreadable records' })).toBeHidden();
  await page.reload();
  await goTo(page, 'Models');
  await expect(page.getByText('storage/unreadable')).toHaveCount(0);
  await context.close();
});

/** Everything but local storage, as a browser clears a site when space runs out. */
async function clearAsBrowsersDo(page: Page): Promise<void> {
  await page.goto('about:blank');
  const other = await page.context().newPage();
  await other.route('**/*', (route) => route.fulfill({ contentType: 'text/html', body: '<p>nothing runs here' }));
  await other.goto('/');
  await other.evaluate(async () => {
    await new Promise<void>((resolve, reject) => {
      const gone = indexedDB.deleteDatabase('maquette');
      gone.onsuccess = () => resolve();
      gone.onerror = () => reject(gone.error);
    });
    const root = await navigator.storage.getDirectory();
    for await (const name of root.keys()) await root.removeEntry(name, { recursive: true });
  });
  await other.close();
}

test('what the browser cleared by itself is said until that is closed; what the person deleted is not', async ({ browser }) => {
  const { context, page } = await openSite(browser, { rows: ROWS });
  await clearAsBrowsersDo(page);
  await page.goto('/');
  const message = await expectCode(page, 'storage/cleared');
  await expect(message).toContainText('The browser deleted what was kept here: 1 task, with everything made of it.');
  await expect(message).toContainText(/asked to keep it/);
  await page.reload();
  await expectCode(page, 'storage/cleared');
  await picture(page, 'cleared');
  await page.getByRole('button', { name: 'Close' }).click();
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Your rows' })).toBeVisible();
  await expect(page.getByText('storage/cleared')).toHaveCount(0);

  await pasteRows(page);
  await page.getByRole('button', { name: /on this device$/ }).click();
  await page
    .getByRole('button', { name: /^Delete .*…$/ })
    .first()
    .click();
  await page.getByRole('button', { name: 'Delete the task' }).click();
  await expect(page.getByText('None yet.')).toBeVisible();
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Your rows' })).toBeVisible();
  await expect(page.getByText('storage/cleared')).toHaveCount(0);
  await context.close();
});

test('a database that the browser lost: its files stay, and the copy of its records is put back', async ({ browser }) => {
  const { context, page } = await openSite(browser, { model: smallModel(), rows: ROWS });
  await goTo(page, 'Task');
  await page.getByRole('button', { name: /^Measure Base/ }).click();
  await expect(boardRow(page, 'Base')).toContainText('n = 6', { timeout: 60_000 });
  const copied = () =>
    page.evaluate(async () => {
      try {
        const file = await (await navigator.storage.getDirectory()).getFileHandle('copy-of-records.json');
        const { records } = JSON.parse(await (await file.getFile()).text());
        return records.results.length > 0 && records.contestants.length > 0;
      } catch {
        return false;
      }
    });
  await expect(async () => expect(await copied()).toBe(true)).toPass();
  const before = await kept(page);
  // As a browser does that finds its database damaged.
  await page.goto('about:blank');
  const other = await context.newPage();
  await other.route('**/*', (route) => route.fulfill({ contentType: 'text/html', body: '<p>nothing runs here' }));
  await other.goto('/');
  await other.evaluate(
    () =>
      new Promise<void>((resolve, reject) => {
        const gone = indexedDB.deleteDatabase('maquette');
        gone.onsuccess = () => resolve();
        gone.onerror = () => reject(gone.error);
      }),
  );
  await other.close();

  await page.goto('/');
  const message = await expectCode(page, 'storage/lost');
  await expect(message).toContainText('A copy has tasks: 1, models: 1, contestants: 1.');
  await goTo(page, 'Models');
  await expect(page.getByRole('heading', { name: 'Lost records' })).toBeVisible();
  expect((await kept(page)).files.map(({ name }) => name).sort()).toEqual(before.files.map(({ name }) => name).sort());
  await picture(page, 'lost-records');
  await page.getByRole('button', { name: /^Put back 1 task, 1 model and 1 contestant/ }).click();
  await expect(page.getByRole('row', { name: new RegExp(smallModel().name) })).toBeVisible();
  await expect(page.getByRole('heading', { name: 'Lost records' })).toBeHidden();
  await goTo(page, 'Task');
  await expect(boardRow(page, 'Base')).toContainText('n = 6');
  await page.reload();
  await goTo(page, 'Models');
  await page.getByRole('button', { name: 'Load', exact: true }).click();
  await expect(page.getByRole('row', { name: new RegExp(smallModel().name) })).toContainText('on the GPU', { timeout: 60_000 });
  await expect(page.getByText('storage/lost')).toHaveCount(0);
  await context.close();
});
