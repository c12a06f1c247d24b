// Every screen in every state of ordinary use, on a model and rows of one's own: empty, busy, full, stale, and the dialogs.
import { expect, type Page, test } from '@playwright/test';
import { holdEngine } from '../support/hold.ts';
import { picture } from '../support/picture.ts';
import { addModel, ask, boardRow, goTo, pasteRows, setSetting, testModel } from '../support/site.ts';

const model = testModel();
const stopButton = (page: Page) => page.getByRole('button', { name: 'Stop and keep best' });

test('every screen and state', async ({ page }) => {
  const hold = await holdEngine(page);
  await page.goto('/');

  await test.step('before there is anything', async () => {
    await expect(page.getByRole('heading', { name: 'Or try rows of our own writing' })).toBeVisible();
    await picture(page, 'task-empty');
    for (const screen of ['Data', 'Prompt', 'Train', 'Chat', 'Export', 'Models'] as const) {
      await goTo(page, screen);
      await expect(page.getByRole('contentinfo')).toBeVisible();
      await picture(page, `${screen.toLowerCase()}-empty`);
    }
  });

  await test.step('a model comes', async () => {
    await page.setInputFiles('[data-pick="files"]', [...model.files]);
    await expect(page.getByRole('button', { name: /^Keep .* on this device$/ })).toBeVisible();
    await picture(page, 'models-found');
    await addModel(page, model);
    const row = page.getByRole('row', { name: new RegExp(model.name) });
    await page.getByRole('button', { name: 'Remove…' }).click();
    await picture(page, 'models-remove');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: /^Delete everything on this device/ }).click();
    await picture(page, 'models-erase');
    await page.keyboard.press('Escape');
    await page.reload();
    await goTo(page, 'Models');
    await hold.stop('files');
    await row.getByRole('button', { name: 'Load', exact: true }).click();
    await hold.reached();
    await expect(page.getByRole('progressbar')).toBeVisible();
    await picture(page, 'models-loading');
    await hold.go();
    await expect(row).toContainText('on the GPU', { timeout: 60_000 });
    await picture(page, 'models-full');
  });

  await test.step('rows come, and Base is measured', async () => {
    await goTo(page, 'Task');
    const csv = 'question,answer,answer\nWho?,Zed.,Z\nWhere?,Here.\nWhen?,Now.,N,n\nWhy?,Because.,B\n';
    await page.getByLabel('File of rows').setInputFiles([{ name: 'mails.csv', mimeType: 'text/csv', buffer: Buffer.from(csv) }]);
    await expect(page.getByRole('list', { name: 'Found while reading' })).toBeVisible();
    await picture(page, 'task-read-rows');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await pasteRows(page);
    await picture(page, 'task-no-contestant');
    await page.getByRole('button', { name: /^Add a contestant/ }).click();
    await expect(page.getByRole('dialog')).toContainText('MB');
    await picture(page, 'task-add-contestant');
    await page.keyboard.press('Escape');
    await hold.stop('gpu');
    await page.getByRole('button', { name: /^Measure Base/ }).click();
    await hold.reached();
    await expect(page.getByRole('button', { name: 'Stop and keep what is done' })).toBeVisible();
    await picture(page, 'task-measuring');
    await hold.go();
    await expect(boardRow(page, 'Base')).toContainText('n = 6', { timeout: 120_000 });
  });

  await test.step('Data', async () => {
    await goTo(page, 'Data');
    await expect(page.getByText(/tokens, \d+ trained/)).toBeVisible();
    await picture(page, 'data-full');
    await page.getByRole('button', { name: 'Edit row 1', exact: true }).click();
    await picture(page, 'data-row-editor');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Add rows', exact: true }).click();
    const copies =
      'Who lives in the red house?\tA little robot named Zed lives in the red house.\nWhat does Mia like to eat?\tCake.\n?\t\n';
    await page.getByLabel('Paste from a spreadsheet').fill(copies);
    await page.getByRole('button', { name: 'Read the rows' }).click();
    await page.getByRole('button', { name: /^Add \d+ rows/ }).click();
    await expect(page.getByRole('complementary', { name: 'Findings' })).not.toContainText('none');
    await picture(page, 'data-findings');
    await goTo(page, 'Task');
    await picture(page, 'task-stale');
    await goTo(page, 'Data');
    for (const out of await page.getByRole('button', { name: /^(Leave out|Take out)/ }).all()) if (await out.isVisible()) await out.click();
  });

  await test.step('Prompt', async () => {
    await goTo(page, 'Prompt');
    await page.getByLabel(/^What the model is told/).fill('Answer in one sentence.');
    await hold.stop('gpu');
    await page.keyboard.press('Control+Enter');
    await hold.reached();
    await picture(page, 'prompt-measuring');
    await hold.go();
    await expect(page.getByRole('complementary', { name: 'Versions' })).toContainText(/n\s=\s\d/, { timeout: 120_000 });
    await page.getByLabel(/^What the model is told/).fill('Answer the question in one short sentence.');
    await page.getByRole('button', { name: /^Draw/ }).click();
    await expect(page.getByRole('button', { name: 'Take out' }).first()).toBeVisible();
    await picture(page, 'prompt-full');
  });

  await test.step('Train', async () => {
    await goTo(page, 'Train');
    await expect(page.getByText('GPU memory').first()).toBeVisible();
    await picture(page, 'train-plan');
    await setSetting(page, /epochs/, '60');
    await picture(page, 'train-settings');
    await page.getByRole('button', { name: /^Train LoRA/ }).click();
    await expect(page.getByText(/The best checkpoint so far scores/)).toBeVisible({ timeout: 120_000 });
    await hold.stop('gpu');
    await hold.reached();
    await picture(page, 'train-running');
    await hold.go();
    await stopButton(page)
      .click({ timeout: 5000 })
      .catch(() => undefined);
    await expect(stopButton(page)).toBeHidden({ timeout: 120_000 });
    await expect(page.getByRole('contentinfo')).not.toContainText('Measuring', { timeout: 60_000 });
    await picture(page, 'train-done');
  });

  await test.step('the Board', async () => {
    await goTo(page, 'Task');
    await expect(boardRow(page, 'LoRA')).toContainText(/n\s=\s\d/);
    const again = page.getByRole('button', { name: /^Measure what is missing/ });
    if (await again.isVisible()) await again.click();
    await expect(page.getByRole('contentinfo')).not.toContainText('Measuring', { timeout: 60_000 });
    await picture(page, 'task-board');
    await boardRow(page, 'LoRA').getByRole('button', { name: /^Open/ }).click();
    await expect(page.getByRole('group', { name: 'Show examples' })).toBeVisible();
    await picture(page, 'task-board-opened');
    await page.getByRole('button', { name: 'Change type and model' }).click();
    await picture(page, 'task-change-type');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Change the score' }).click();
    await picture(page, 'task-change-score');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: /on this device$/ }).click();
    await picture(page, 'task-list');
    await page.keyboard.press('Escape');
  });

  await test.step('Chat', async () => {
    await goTo(page, 'Chat');
    await picture(page, 'chat-ready');
    await page.getByLabel('Temperature').fill('0');
    await page.getByLabel(/^Message/).fill('Where does Max sleep?');
    await page.keyboard.press('Control+Enter');
    await expect(page.locator('[data-answer]').first()).not.toBeEmpty();
    await hold.stop('gpu');
    await hold.reached();
    await picture(page, 'chat-answering');
    await hold.go();
    await expect(page.getByRole('button', { name: /^Send/ })).toBeVisible({ timeout: 60_000 });
    await ask(page, 'What does Zed like to eat?');
    await picture(page, 'chat-columns');
  });

  await test.step('Export, and the dialogs of every screen', async () => {
    await goTo(page, 'Export');
    const save = page.getByRole('article', { name: 'Adapter for PEFT' }).getByRole('button', { name: /^Save/ });
    await expect(save).toBeVisible();
    await picture(page, 'export-full');
    await page.getByRole('button', { name: 'How to load it' }).first().click();
    await picture(page, 'export-how');
    await page.keyboard.press('Escape');
    const waiting = page.waitForEvent('download');
    await save.click();
    const file = test.info().outputPath('lora.zip');
    await (await waiting).saveAs(file);
    await page.setInputFiles('[data-pick="contestant"]', file);
    await expect(page.getByRole('heading', { name: /is on the board\.$/ })).toBeVisible();
    await picture(page, 'export-imported');
    await page.keyboard.press('Control+k');
    await picture(page, 'find');
    await page.keyboard.press('Escape');
    await page.keyboard.press('?');
    await picture(page, 'keys');
  });
});
