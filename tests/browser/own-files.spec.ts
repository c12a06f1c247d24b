import { expect, test } from '@playwright/test';
import { trainAndTakeAway } from '../support/journey.ts';
import { addModel, ask, boardRow, goTo, pasteRows, testModel } from '../support/site.ts';
import { watchTraffic } from '../support/traffic.ts';

const model = testModel();

test('a model from the file picker: from files to a board, an adapter that learned, a reload, an export and back', {
  tag: '@long',
}, async ({ page, context, baseURL }) => {
  test.setTimeout(420_000);
  const traffic = watchTraffic(context, baseURL ?? '');
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto('/');

  await test.step('a model from files answers in Chat', async () => {
    await addModel(page, model);
    await goTo(page, 'Chat');
    const [story] = await ask(page, 'Once upon a time');
    if (model.real) expect(story).toContain('there was a little girl named Lily. She loved to play outside in the park.');
    else expect(story).toBeDefined();
  });

  await test.step('pasted rows become a task, Base is scored', async () => {
    await pasteRows(page);
    await page.getByRole('button', { name: /^Measure Base/ }).click();
    await expect(boardRow(page, 'Base')).toContainText('n = 6', { timeout: 90_000 });
  });

  await test.step('a prompt is scored beside it', async () => {
    await goTo(page, 'Prompt');
    await page.getByLabel(/^What the model is told/).fill('Answer in one sentence.');
    await page.keyboard.press('Control+Enter');
    await expect(page.getByRole('complementary', { name: 'Versions' })).toContainText('n = 6', { timeout: 90_000 });
  });

  await trainAndTakeAway(page, {
    epochs: 30,
    validations: 3,
    isAnswer: (cell) => cell.endsWith('.'),
    scored: 'n = 6',
    prompt: 'Prompt 1',
    exact: model.real,
  });

  expect(errors).toEqual([]);
  expect(traffic.foreign).toEqual([]);
});
