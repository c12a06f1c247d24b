// Rows in, changed, split and erased, as a person does it; and what the device keeps of it, read around the program.
import { expect, type Locator, type Page, test } from '@playwright/test';
import { kept, type Opened, openSite, smallModel } from '../support/screens.ts';
import { boardRow, goTo, ROWS, setSetting, trainAndWait } from '../support/site.ts';

const file = (name: string, text: string) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(text) });
const table = (page: Page): Locator => page.getByRole('table', { name: /^Rows \d/ });
async function openImporter(page: Page): Promise<void> {
  await goTo(page, 'Data');
  const add = page.getByRole('button', { name: 'Add rows', exact: true });
  if (await add.isVisible()) await add.click();
}
async function choose(page: Page, name: string, text: string): Promise<void> {
  await openImporter(page);
  await page.getByLabel('File of rows').setInputFiles([file(name, text)]);
}
const lines = (values: readonly object[]): string => values.map((value) => JSON.stringify(value)).join('\n');

const settingKeys = (page: Page): Promise<readonly string[]> =>
  page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const opening = indexedDB.open('maquette');
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const all = opening.result.transaction('settings').objectStore('settings').getAllKeys();
          all.onsuccess = () => {
            opening.result.close();
            resolve(all.result.map(String));
          };
        };
      }),
  );

test.describe('rows in', () => {
  test.describe.configure({ mode: 'serial' });
  let opened: Opened;
  test.beforeAll(async ({ browser }) => {
    opened = await openSite(browser);
  });
  test.afterAll(() => opened.context.close());

  test('chat messages, with earlier turns', async () => {
    const { page } = opened;
    const chat = [
      {
        messages: [
          { role: 'system', content: 'Be kind.' },
          { role: 'user', content: 'Hello?' },
          { role: 'assistant', content: 'Hello.' },
        ],
      },
      {
        messages: [
          { role: 'user', content: 'One?' },
          { role: 'assistant', content: '1' },
          { role: 'user', content: 'Two?' },
          { role: 'assistant', content: '2' },
        ],
      },
      { messages: [{ role: 'user', content: 'And nobody answers' }] },
    ];
    await choose(page, 'chat.jsonl', lines(chat));
    await expect(page.getByText('holds chat messages:')).toBeVisible();
    await expect(page.getByRole('list', { name: 'Found while reading' })).toContainText('no answer');
    await page.getByRole('button', { name: /^Add 3 rows/ }).click();
    await expect(table(page).getByRole('row')).toHaveCount(4);
    await expect(table(page)).toContainText('2 earlier turns');
    await expect(table(page)).toContainText('no answer');
    await expect(table(page)).toContainText('unused');
  });

  test('Alpaca, and a table whose columns are given their roles', async () => {
    const { page } = opened;
    await choose(page, 'alpaca.json', JSON.stringify([{ instruction: 'Add.', input: '2 and 3', output: '5' }]));
    await expect(page.getByText('holds instructions and outputs:')).toBeVisible();
    await page.getByRole('button', { name: /^Add 1 row/ }).click();
    await expect(table(page).getByRole('row')).toHaveCount(5);
    await choose(page, 'notes.csv', 'topic,remark,mood\nrain,it falls down,wet\nsun,it shines all day,dry\n');
    await expect(page.getByText('Say what each column is.')).toBeVisible();
    await page.getByLabel('Role of column topic').selectOption('Input');
    await page.getByLabel('Role of column remark').selectOption('Leave out');
    await page.getByLabel('Role of column mood').selectOption('Answer');
    await page.getByRole('button', { name: /^Add 2 rows/ }).click();
    await expect(table(page).getByRole('row').nth(5)).toContainText(/rain\s*wet/);
    await expect(table(page)).not.toContainText('it falls down');
  });

  test('a paste from a spreadsheet replaces what was there', async () => {
    const { page } = opened;
    await openImporter(page);
    await page.getByLabel('Paste from a spreadsheet').fill(ROWS);
    await page.getByRole('button', { name: 'Read the rows' }).click();
    await page.getByRole('radio', { name: 'In their place' }).check();
    await page.getByRole('button', { name: 'Replace 6 rows by 12' }).click();
    await expect.poll(async () => (await kept(page)).rows).toBe(12);
  });

  test('columns get other roles in the header of the rows, and their old ones back', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    const cells = table(page).getByRole('row').nth(1).getByRole('cell');
    await expect(cells.nth(0)).toHaveText('Who lives in the red house?');
    const second = table(page).getByLabel('Role of column Column 2');
    // The only answer is not left out; as the input it changes places with the one there is.
    await expect(second.getByRole('option', { name: 'Leave out' })).toBeDisabled();
    await second.selectOption('Input');
    await expect(cells.nth(0)).toHaveText('A little robot named Zed lives in the red house.');
    await expect(cells.nth(1)).toContainText('Who lives in the red house?');
    await expect(table(page).getByLabel('Role of column Column 1')).toHaveValue('answer');
    await page.getByRole('button', { name: 'Undo' }).click();
    await expect(cells.nth(0)).toHaveText('Who lives in the red house?');
    await expect(second).toHaveValue('answer');
    expect((await kept(page)).rows).toBe(12);
  });

  test('a row written, edited, deleted and brought back', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    await page.getByRole('button', { name: 'Write a row' }).click();
    await page.getByLabel(/^What goes in/).fill('Who are you?');
    await page.getByLabel(/^What should come out/).fill('Mia.');
    await page.keyboard.press('Control+Enter');
    await expect.poll(async () => (await kept(page)).rows).toBe(13);
    await page.getByLabel('Find in rows').fill('Who are you?');
    await page.getByRole('button', { name: 'Edit row 13' }).click();
    await page.getByLabel(/^What should come out/).fill('Zed.');
    await page.getByRole('button', { name: 'Save the row' }).click();
    await expect(table(page).getByRole('row', { name: /Who are you/ })).toContainText('Zed.');
    // Rows that were changed by hand are no table's any more.
    await expect(table(page).getByLabel(/^Role of column/)).toHaveCount(0);
    await page.getByRole('button', { name: 'Edit row 13' }).click();
    await page.getByRole('button', { name: 'Delete the row' }).click();
    await expect.poll(async () => (await kept(page)).rows).toBe(12);
    await page.getByRole('button', { name: 'Undo' }).click();
    await expect.poll(async () => (await kept(page)).rows).toBe(13);
  });

  test('rows that ask the same stay on one side', async () => {
    const { page } = opened;
    await choose(
      page,
      'copies.csv',
      `input,answer\n${Array.from({ length: 6 }, (_, i) => `Where does MAX sleep?,place ${i}`).join('\n')}\n`,
    );
    await page.getByRole('button', { name: /^Add 6 rows/ }).click();
    await expect.poll(async () => (await kept(page)).rows).toBe(19);
    await page.getByLabel('Find in rows').fill('where does max sleep');
    const copies = table(page).getByRole('row', { name: /Where does max sleep/i });
    await expect(copies).toHaveCount(7);
    const sides = new Set(await Promise.all((await copies.all()).map((row) => row.getByRole('cell').nth(2).textContent())));
    expect(sides.size).toBe(1);
  });
});

test.describe('split, test, and leaving', () => {
  test.describe.configure({ mode: 'serial' });
  let opened: Opened;
  const many = Array.from({ length: 60 }, (_, i) => `Number ${i}?\t${['red', 'blue'][i % 2]}`).join('\n');
  test.beforeAll(async ({ browser }) => {
    opened = await openSite(browser, { model: smallModel(), rows: many });
  });
  test.afterAll(() => opened.context.close());

  test('sixty rows get a test; another split makes results stale', async () => {
    const { page } = opened;
    await expect(page.getByText(/36 train · 12 validation · 12 test, locked/)).toBeVisible();
    await page.getByRole('button', { name: 'Change the score' }).click();
    const exact = page.getByRole('dialog', { name: 'Score' }).getByRole('listitem').filter({ hasText: 'Exact match' }).first();
    await expect(exact).toContainText('proposed');
    await expect(exact).toContainText('The 60 answers are 2 short labels, so a reply is right or wrong: exact match.');
    await expect(page.getByText(/1\.5 times the longest training answer and at least 8, now \d+;/)).toBeVisible();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: /^Measure Base/ }).click();
    await expect(boardRow(page, 'Base')).toContainText('of 12', { timeout: 90_000 });
    // "row 3 of 12" is no score yet.
    await expect(page.getByRole('contentinfo')).not.toContainText('Measuring', { timeout: 90_000 });
    await goTo(page, 'Data');
    await page.getByLabel(/^Validation, %/).fill('30');
    await expect(page.getByText(/the results of 1 contestant become stale/)).toBeVisible();
    await page.getByRole('button', { name: 'Split again' }).click();
    await goTo(page, 'Task');
    await expect(boardRow(page, 'Base')).toContainText('measure again');
    await boardRow(page, 'Base').getByRole('button', { name: 'Measure Base again' }).click();
    await expect(boardRow(page, 'Base')).toContainText('of 18', { timeout: 90_000 });
  });

  test('shots come from the training rows only', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    await page.getByRole('region', { name: 'Rows' }).getByLabel('Split').selectOption({ label: 'Train, 36' });
    const train = new Set<string>();
    for (let i = 0; i < 3; i++) {
      for (const row of await table(page).getByRole('row').all())
        train.add(
          (
            await row
              .getByRole('cell')
              .first()
              .textContent({ timeout: 1000 })
              .catch(() => '')
          )?.trim() ?? '',
        );
      const later = page.getByRole('region', { name: 'Rows' }).getByRole('button', { name: 'Later' });
      if (await later.isEnabled()) await later.click();
    }
    await goTo(page, 'Prompt');
    await page.getByLabel('Draw', { exact: true }).fill('8');
    await page.getByRole('button', { name: 'Draw 8 shots' }).click();
    const shots = page.locator('ol.shots li');
    await expect(shots).toHaveCount(8);
    for (const shot of await shots.all()) expect(train).toContain((await shot.locator('span').first().textContent())?.trim());
    await page.getByRole('button', { name: 'Show none' }).click();
  });

  test('the test is opened once, by an act that says so, and what comes after is marked', async () => {
    const { page } = opened;
    await goTo(page, 'Task');
    await page.getByRole('button', { name: 'Open the test…' }).click();
    await expect(page.getByRole('dialog')).toContainText('It cannot be closed again');
    await page.getByRole('button', { name: /^Open the test, 6 rows/ }).click();
    await expect(page.getByText(/The test was opened on/)).toBeVisible();
    await expect(page.getByRole('button', { name: 'Open the test…' })).toBeHidden();
    await goTo(page, 'Prompt');
    await page.getByLabel(/^What the model is told/).fill('Answer red or blue.');
    await page.keyboard.press('Control+Enter');
    await expect(page.getByRole('complementary', { name: 'Versions' })).toContainText('n = 18', { timeout: 90_000 });
    await goTo(page, 'Task');
    await page.getByRole('radio', { name: 'Validation' }).check();
    await expect(boardRow(page, 'Prompt 1')).toContainText(/after the test/i);
    await expect(boardRow(page, 'Base')).not.toContainText(/after the test/i);
  });

  test('a contestant, a run, a task and a model are renamed and deleted, with the bytes freed', async () => {
    const { page } = opened;
    await goTo(page, 'Train');
    await expect(page.getByRole('button', { name: /^Train LoRA, / })).toBeVisible({ timeout: 30_000 });
    await setSetting(page, /epochs/, '1');
    await setSetting(page, /validations a run/, '1');
    await trainAndWait(page);
    await page.getByRole('button', { name: 'Rename the run' }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('First run');
    await page.keyboard.press('Enter');
    await expect(page.getByText('First run').first()).toBeVisible();

    // On another split of the rows it is scored on some that it was trained on.
    await goTo(page, 'Data');
    await page.getByLabel('Seed', { exact: false }).last().fill('8');
    await page.getByRole('button', { name: 'Split again' }).click();
    await goTo(page, 'Task');
    await page.getByRole('radio', { name: 'Validation' }).check();
    await boardRow(page, 'LoRA').getByRole('button', { name: 'Measure LoRA again' }).click();
    await expect(boardRow(page, 'LoRA')).toContainText('Not compared', { timeout: 90_000 });
    await expect(boardRow(page, 'LoRA')).toContainText(/trained on \d+ of these 18 rows/);

    const bytes = async (): Promise<number> => (await kept(page)).files.reduce((sum, { bytes: size }) => sum + size, 0);
    const before = await bytes();
    await goTo(page, 'Task');
    await page.getByRole('radio', { name: 'Validation' }).check();
    const lora = boardRow(page, 'LoRA');
    await lora.getByRole('button', { name: /^Open/ }).click();
    await page.getByRole('button', { name: 'Rename', exact: true }).last().click();
    await page.getByRole('dialog').getByLabel('Name').fill('Small one');
    await page.keyboard.press('Enter');
    await expect(boardRow(page, 'Small one')).toBeVisible();
    await page.getByRole('button', { name: 'Delete…' }).first().click();
    await page.getByRole('button', { name: 'Delete the contestant' }).click();
    await expect(boardRow(page, 'Small one')).toBeHidden();
    await expect.poll(bytes).toBeLessThan(before - 50_000);

    await goTo(page, 'Train');
    await page.getByRole('button', { name: 'Delete the run…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete the run' }).click();
    await expect.poll(async () => (await kept(page)).runs).toEqual([]);
    await goTo(page, 'Task');

    await page.getByRole('button', { name: 'Rename', exact: true }).first().click();
    await page.getByRole('dialog').getByLabel('Name').fill('Colors');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('heading', { level: 1, name: 'Colors' })).toBeVisible();

    await goTo(page, 'Models');
    await page.getByRole('button', { name: 'Rename…' }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('Tiny');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('row', { name: /Tiny/ })).toBeVisible();
    await page.getByRole('button', { name: 'Remove…' }).click();
    await page.getByRole('button', { name: /^Remove, free/ }).click();
    await expect(page.getByRole('row', { name: /Tiny/ })).toBeHidden();
    await expect(async () => expect(await bytes()).toBe(0)).toPass({ timeout: 10_000 });
    expect(await settingKeys(page)).toContainEqual(expect.stringMatching(/^prompt-draft/));
    await goTo(page, 'Task');
    await page.getByRole('button', { name: /on this device$/ }).click();
    await page.getByRole('button', { name: 'Delete Colors…' }).click();
    await page.getByRole('button', { name: 'Delete the task' }).click();
    await expect.poll(async () => (await kept(page)).tasks).toEqual([]);
    await expect(async () => {
      const left = await kept(page);
      expect([left.rows, left.contestants, left.runs]).toEqual([0, [], []]);
      // The draft of a prompt is text of a person's, and belongs to the task.
      expect(await settingKeys(page)).not.toContainEqual(expect.stringMatching(/^prompt-draft/));
    }).toPass({ timeout: 10_000 });
  });
});

test('everything erased is gone: records, files, settings', async ({ browser }) => {
  const { context, page } = await openSite(browser, { model: smallModel(), rows: ROWS });
  expect((await kept(page)).files.length).toBeGreaterThan(0);
  await goTo(page, 'Models');
  await page.getByRole('button', { name: 'Delete everything on this device…' }).click();
  await page.getByRole('button', { name: /^Delete everything, free/ }).click();
  await expect(page.getByRole('heading', { name: /^Teach a small language model your task/ })).toBeVisible({ timeout: 30_000 });
  // Nothing fills it again by itself, as a first visit would.
  await page.waitForTimeout(1500);
  expect(await kept(page)).toEqual({ tasks: [], models: [], rows: 0, runs: [], contestants: [], files: [] });
  expect(await page.evaluate(() => localStorage.length)).toBe(0);
  await context.close();
});
