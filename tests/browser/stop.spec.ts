// Stop: in Chat nothing more is shown, while scoring what is done stays and can go on, while training the best is kept.
import { expect, test } from '@playwright/test';
import { expectCode, kept, type Opened, openSite, smallModel, startTraining } from '../support/screens.ts';
import { boardRow, goTo, ROWS } from '../support/site.ts';

test.describe.configure({ mode: 'serial' });
let opened: Opened;
test.beforeAll(async ({ browser }) => {
  // Long questions leave little room for a reply, so those rows are done long before the others.
  const long = ROWS.replaceAll(
    /^/gm,
    'Zed has a red house and Max sleeps under the old tree near the lake, and Mia has a box with a shiny key. ',
  );
  opened = await openSite(browser, { model: smallModel(), rows: `${ROWS}\n${long}` });
});
test.afterAll(() => opened.context.close());

test('in Chat', async () => {
  const { page } = opened;
  await goTo(page, 'Chat');
  await page.getByLabel('Longest answer').fill('200');
  await page.getByLabel(/^Message/).fill('Where is the key?');
  // Pressed in the page, as soon as a word stands there: a quick device is done with all 200 tokens before a click from outside arrives.
  await page.evaluate(() => {
    const watch = new MutationObserver(() => {
      const answer = [...document.querySelectorAll('[data-answer]')].at(-1);
      const stop = [...document.querySelectorAll('button')].find((button) => button.textContent.trim().startsWith('Stop'));
      if (answer === undefined || answer.textContent === '' || stop === undefined) return;
      watch.disconnect();
      // As while the next message is being written.
      document
        .querySelector('#chat-message')
        ?.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true, cancelable: true }));
      document.body.dataset.atStop = answer.textContent;
    });
    watch.observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await page.keyboard.press('Control+Enter');
  const answer = page.locator('[data-answer]').last();
  await expect(answer).not.toBeEmpty({ timeout: 60_000 });
  await expect(page.getByRole('button', { name: /^Send/ })).toBeVisible({ timeout: 5000 });
  const shown = await page.evaluate(() => document.body.dataset.atStop);
  await expect(page.locator('.turn').last()).toContainText('stopped');
  await page.waitForTimeout(500);
  expect(await answer.textContent()).toBe(shown);
});

test('while scoring: the rows that are done stand on the board, and scoring goes on from there', async () => {
  const { page } = opened;
  await goTo(page, 'Task');
  await page.getByRole('button', { name: 'Change the score' }).click();
  await page.getByLabel(/^Longest answer, tokens/).fill('250');
  await page.getByRole('button', { name: 'Change', exact: true }).last().click();
  await page.getByRole('button', { name: /^Measure Base/ }).click();
  // Pressed in the page, as soon as a row is done: a quick device is done with all twelve before a key from outside arrives.
  await page.evaluate(
    () =>
      new Promise<void>((pressed) => {
        const look = () => {
          if (!/row ([1-9]|1[01]) of 12/.test(document.querySelector('footer')?.textContent ?? '')) return;
          watch.disconnect();
          document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true, cancelable: true }));
          pressed();
        };
        const watch = new MutationObserver(look);
        watch.observe(document.body, { subtree: true, childList: true, characterData: true });
        look();
      }),
  );
  await expect(page.getByRole('button', { name: 'Stop and keep what is done' })).toBeHidden({ timeout: 20_000 });
  const base = boardRow(page, 'Base');
  await expect(base).toContainText(/n = ([1-9]|1[01])\b/);
  await base.getByRole('button', { name: 'Measure Base again' }).click();
  await expect(base).toContainText('n = 12', { timeout: 60_000 });
});

test('while training: the best is kept', async () => {
  const { page } = opened;
  await startTraining(page, [
    [/epochs/, '100'],
    [/validations a run/, '100'],
    [/validations without a better one/, '0'],
  ]);
  await expect(page.getByText(/The best checkpoint so far scores/)).toBeVisible({ timeout: 120_000 });
  // Nothing is pulled away under it.
  await goTo(page, 'Task');
  await page.getByRole('button', { name: /on this device$/ }).click();
  await page
    .getByRole('button', { name: /^Delete .*…$/ })
    .first()
    .click();
  await page.getByRole('button', { name: 'Delete the task' }).click();
  await page.keyboard.press('Escape');
  await expect(await expectCode(page, 'engine/busy')).toContainText('Training LoRA goes on in this task. Nothing was deleted.');
  await page.getByRole('button', { name: 'Close', exact: true }).click();
  await goTo(page, 'Train');
  await page.getByRole('button', { name: 'Stop and keep best' }).click();
  await expect(page.getByRole('button', { name: 'Stop and keep best' })).toBeHidden({ timeout: 20_000 });
  await expect(page.getByText('stopped, its best kept')).toBeVisible();
  expect((await kept(page)).runs).toMatchObject([{ status: 'stopped', contestantId: expect.any(String) }]);
  await goTo(page, 'Task');
  await expect(boardRow(page, 'LoRA')).toBeVisible();
});
