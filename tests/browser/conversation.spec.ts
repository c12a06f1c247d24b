// What is said in Chat is there after a reload, goes on from there, and goes with "Start anew" and with its task.
import { expect, type Locator, type Page, test } from '@playwright/test';
import { type Opened, openSite, smallModel } from '../support/screens.ts';
import { ask, boardRow, goTo, ROWS } from '../support/site.ts';

const turns = (page: Page): Locator => page.locator('.turn');
/** A turn as a person reads it: the question, and each column's words and numbers but for its speed. */
async function said(turn: Locator): Promise<readonly string[]> {
  const parts = await turn.locator('.you, [data-answer], .meta').allTextContents();
  return parts.map((part) => part.replace(/[\d,.]+\s*tokens\/s/, '').trim());
}
async function atChat(page: Page, count: number): Promise<void> {
  await goTo(page, 'Chat');
  await expect(page.locator('.talk')).toHaveAttribute('aria-busy', 'false');
  await expect(turns(page)).toHaveCount(count);
}
/** What is kept of conversations, read around the program. */
const chatKeys = (page: Page): Promise<readonly string[]> =>
  page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const opening = indexedDB.open('maquette');
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const all = opening.result.transaction('settings').objectStore('settings').getAllKeys();
          all.onsuccess = () => {
            opening.result.close();
            resolve(all.result.map(String).filter((key) => key.startsWith('chat-')));
          };
        };
      }),
  );

test.describe.configure({ mode: 'serial' });
let opened: Opened;
let first: readonly string[];
let second: readonly string[];
test.beforeAll(async ({ browser }) => {
  opened = await openSite(browser, { model: smallModel(), rows: ROWS });
  const { page } = opened;
  await goTo(page, 'Prompt');
  await page.getByLabel(/^What the model is told/).fill('Be short.');
  await page.keyboard.press('Control+Enter');
  await expect(page.getByRole('complementary', { name: 'Versions' })).toContainText('n = 6', { timeout: 90_000 });
});
test.afterAll(() => opened.context.close());

test('after a reload the turns stand there with the same words, and the next answer goes on from them', async () => {
  const { page } = opened;
  await atChat(page, 0);
  await page.getByLabel('Seed').fill('11');
  await page.getByLabel('Longest answer').fill('12');
  expect(await ask(page, 'Where is the key?')).toHaveLength(2);
  first = await said(turns(page).first());
  await page.reload();
  await atChat(page, 1);
  expect(await said(turns(page).first())).toEqual(first);
  await expect(page.getByLabel('Seed')).toHaveValue('11');
  await expect(page.getByLabel('Longest answer')).toHaveValue('12');
  await expect(page.getByLabel('Temperature')).toHaveValue('0');
  await ask(page, 'Who has it?');
  second = await said(turns(page).last());

  // The same two questions without a reload between them.
  await page.getByRole('button', { name: 'Start anew' }).click();
  await expect(turns(page)).toHaveCount(0);
  await ask(page, 'Where is the key?');
  expect(await said(turns(page).first())).toEqual(first);
  await ask(page, 'Who has it?');
  expect(await said(turns(page).last())).toEqual(second);
  // And it does hear what was said before: alone the question is another one.
  await page.getByRole('button', { name: 'Start anew' }).click();
  await ask(page, 'Who has it?');
  expect(await said(turns(page).last())).not.toEqual(second);
});

test('"Start anew" forgets it, on the disk too', async () => {
  const { page } = opened;
  expect(await chatKeys(page)).toContainEqual(expect.stringMatching(/^chat-turns /));
  await page.getByRole('button', { name: 'Start anew' }).click();
  await expect(turns(page)).toHaveCount(0);
  await expect.poll(() => chatKeys(page)).not.toContainEqual(expect.stringMatching(/^chat-turns/));
  await page.reload();
  await atChat(page, 0);
});

test('a second tab shows what is said in the first, and neither loses a turn of the other', async () => {
  const { page, context } = opened;
  const other = await context.newPage();
  await other.goto('/');
  await atChat(other, 0);
  await ask(page, 'Where is the key?');
  await expect(turns(other)).toHaveCount(1);
  expect(await said(turns(other).first())).toEqual(first);
  await goTo(other, 'Models');
  await other.getByRole('button', { name: /^(Load|Use in this task)$/ }).click();
  await expect(other.getByRole('contentinfo')).toContainText('small llama', { timeout: 60_000 });
  await atChat(other, 1);
  await ask(other, 'Who has it?');
  expect(await said(turns(other).last())).toEqual(second);
  await other.close();
  await expect(turns(page)).toHaveCount(2);
  expect(await said(turns(page).last())).toEqual(second);
});

test('what a deleted contestant said stands, and it is asked no more', async () => {
  const { page } = opened;
  await goTo(page, 'Task');
  await boardRow(page, 'Prompt 1').getByRole('button', { name: /^Open/ }).click();
  await page.getByRole('button', { name: 'Delete…' }).first().click();
  await page.getByRole('button', { name: 'Delete the contestant' }).click();
  await expect(boardRow(page, 'Prompt 1')).toBeHidden();
  await page.reload();
  await atChat(page, 2);
  expect(await said(turns(page).first())).toEqual(first);
  await expect(turns(page).last()).toContainText('deleted meanwhile');
  expect(await ask(page, 'And now?')).toHaveLength(1);
});

test('an answer that a reload cuts off is kept as far as it was written, and marked as stopped', async () => {
  const { page } = opened;
  await page.getByRole('button', { name: 'Start anew' }).click();
  await page.getByLabel('Longest answer').fill('200');
  await page.getByLabel(/^Message/).fill('Tell me all of it.');
  // In the page, at its first word: a quick device has written all of it before a reload from outside comes.
  await page.evaluate(() => {
    const watch = new MutationObserver(() => {
      const words = [...document.querySelectorAll('[data-answer]')].at(-1)?.textContent ?? '';
      if (words === '') return;
      watch.disconnect();
      sessionStorage.setItem('at reload', words);
      location.reload();
    });
    watch.observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await Promise.all([page.waitForEvent('load'), page.keyboard.press('Control+Enter')]);
  await atChat(page, 1);
  const turn = turns(page).first();
  await expect(turn.locator('.you')).toContainText('Tell me all of it.');
  await expect(turn).toContainText('stopped: the page was closed or loaded again while it was written');
  const words = await page.evaluate(() => sessionStorage.getItem('at reload') ?? '');
  expect(words).not.toBe('');
  expect((await turn.locator('[data-answer]').first().textContent())?.startsWith(words)).toBe(true);
  // It is part of the conversation from now on.
  await page.getByLabel('Longest answer').fill('8');
  await ask(page, 'Go on.');
  await expect(turns(page)).toHaveCount(2);
});

test('it goes with its task', async () => {
  const { page } = opened;
  expect(await chatKeys(page)).toContainEqual(expect.stringMatching(/^chat-turns /));
  await goTo(page, 'Task');
  await page.getByRole('button', { name: /on this device$/ }).click();
  await page
    .getByRole('button', { name: /^Delete .*…$/ })
    .first()
    .click();
  await page.getByRole('button', { name: 'Delete the task' }).click();
  await expect.poll(() => chatKeys(page)).not.toContainEqual(expect.stringMatching(/^chat-.* /));
});
