// A person who presses twice, too early, or somewhere else meanwhile: nothing is made twice, nothing is lost without a word.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, type Page, test } from '@playwright/test';
import { holdCalls, holdEngine } from '../support/hold.ts';
import { expectCode, kept, type Opened, openSite, smallModel } from '../support/screens.ts';
import { ask, boardRow, goTo, pasteRows, ROWS, setSetting } from '../support/site.ts';

/** Both presses in one task of the page: no machine is quick enough to come between. */
const twice = (page: Page, name: string): Promise<void> =>
  page.evaluate((label) => {
    const button = [...document.querySelectorAll('button')].find((one) => one.textContent.trim().startsWith(label) && !one.disabled);
    if (button === undefined) throw new Error(`There is no button ${label} to press.`);
    button.click();
    button.click();
  }, name);
const pressTwice = (page: Page, key: string, ctrlKey: boolean): Promise<void> =>
  page.evaluate(
    ([which, ctrl]) => {
      for (let i = 0; i < 2; i++) {
        const press = new KeyboardEvent('keydown', { key: which, ctrlKey: ctrl, bubbles: true, cancelable: true });
        document.activeElement?.dispatchEvent(press);
      }
    },
    [key, ctrlKey] as const,
  );
/** All records of a store, read around the program. */
const records = (page: Page, store: string): Promise<Record<string, unknown>[]> =>
  page.evaluate(
    (name) =>
      new Promise((resolve, reject) => {
        const opening = indexedDB.open('maquette');
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const all = opening.result.transaction(name).objectStore(name).getAll();
          all.onsuccess = () => {
            opening.result.close();
            resolve(all.result);
          };
        };
      }),
    store,
  );
/** As after a change in another tab: the list of tasks is read again. */
async function readAgain(page: Page): Promise<void> {
  await page.evaluate(() => {
    const other = new BroadcastChannel('maquette');
    other.postMessage({ store: 'tasks', key: 'of another tab' });
    other.close();
  });
  await page.waitForTimeout(300);
}
const foot = (page: Page) => page.getByRole('contentinfo');
/** Nothing runs any more of what was begun. */
async function idle(page: Page): Promise<void> {
  await expect(foot(page)).not.toContainText(/Measuring|Training|Loading/, { timeout: 120_000 });
}

test.describe('rows', () => {
  test.describe.configure({ mode: 'serial' });
  let opened: Opened;
  test.beforeAll(async ({ browser }) => {
    opened = await openSite(browser);
  });
  test.afterAll(() => opened.context.close());

  test('a table without an input is not taken by a key, and stays', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    await page.getByLabel('Paste from a spreadsheet').fill(ROWS);
    await page.getByRole('button', { name: 'Read the rows' }).click();
    const role = page.getByLabel(/^Role of column/);
    for (const column of [0, 1]) await role.nth(column).selectOption('Leave out');
    await expect(page.getByText('No row has an input yet')).toBeVisible();
    await page.keyboard.press('Control+Enter');
    await expect(page.getByText('No row has an input yet')).toBeVisible();
    expect((await kept(page)).tasks).toEqual([]);
    await role.nth(0).selectOption('Input');
    await role.nth(1).selectOption('Answer');
    // As the roles are now, however soon the key comes.
    await pressTwice(page, 'Enter', true);
    await expect.poll(async () => (await kept(page)).rows).toBe(12);
    await expect(page.getByRole('table', { name: /^Rows \d/ })).toContainText('A little robot named Zed');
    expect((await kept(page)).tasks).toHaveLength(1);
  });

  test('rows added by a key go where the switch says', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    await page.getByRole('button', { name: 'Add rows', exact: true }).click();
    await page.getByLabel('Paste from a spreadsheet').fill('One?\t1\nTwo?\t2');
    await page.keyboard.press('Control+Enter');
    await page.getByRole('radio', { name: 'In their place' }).check();
    await page.keyboard.press('Control+Enter');
    await expect.poll(async () => (await kept(page)).rows).toBe(2);
  });

  test('a key that is held reads and does not add', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    await page.getByRole('button', { name: 'Add rows', exact: true }).click();
    await page.getByLabel('Paste from a spreadsheet').fill('Three?\t3');
    await page.keyboard.down('Control');
    await page.keyboard.down('Enter');
    await expect(page.getByRole('button', { name: /^Add 1 row/ })).toBeVisible();
    await page.keyboard.down('Enter');
    await page.keyboard.up('Enter');
    await page.keyboard.up('Control');
    await expect(page.getByRole('button', { name: /^Add 1 row/ })).toBeVisible();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.keyboard.press('Escape');
    expect((await kept(page)).rows).toBe(2);
  });

  test('what is read and not added on Data is not added by a key on Task', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    await page.getByRole('button', { name: 'Add rows', exact: true }).click();
    await page.getByLabel('Paste from a spreadsheet').fill('Three?\t3');
    await page.getByRole('button', { name: 'Read the rows' }).click();
    await expect(page.getByRole('button', { name: /^Add 1 row/ })).toBeVisible();
    await goTo(page, 'Task');
    await expect(page.getByRole('heading', { name: 'The board' })).toBeVisible();
    await page.keyboard.press('Control+Enter');
    await expect(page.getByRole('dialog', { name: 'Add a contestant' })).toBeVisible();
    await page.keyboard.press('Escape');
    expect((await kept(page)).rows).toBe(2);
    await goTo(page, 'Data');
    await page.getByRole('button', { name: 'Cancel' }).click();
  });

  test('the undo of a deletion keeps what was written since', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    await page.getByRole('button', { name: 'Edit row 1', exact: true }).click();
    await page.getByRole('button', { name: 'Delete the row' }).click();
    await expect.poll(async () => (await kept(page)).rows).toBe(1);
    await page.getByRole('button', { name: 'Write a row' }).click();
    await page.getByLabel(/^What goes in/).fill('Written since?');
    await page.getByRole('button', { name: 'Save the row' }).click();
    await expect.poll(async () => (await kept(page)).rows).toBe(2);
    await page.getByRole('button', { name: 'Undo' }).click();
    await expect.poll(async () => (await kept(page)).rows).toBe(3);
    await expect(page.getByRole('table', { name: /^Rows \d/ })).toContainText('Written since?');
  });

  test('a row that could not be saved stays written, and why is said', async () => {
    const { page } = opened;
    await goTo(page, 'Data');
    await page.getByRole('button', { name: 'Write a row' }).click();
    await page.getByLabel(/^What goes in/).fill('A long question, written with care');
    await page.evaluate(
      () =>
        new Promise<void>((resolve) => {
          const opening = indexedDB.open('maquette');
          opening.onsuccess = () => {
            const tx = opening.result.transaction('tasks', 'readwrite');
            tx.objectStore('tasks').clear();
            tx.oncomplete = () => {
              opening.result.close();
              resolve();
            };
          };
        }),
    );
    await page.keyboard.press('Control+Enter');
    await expectCode(page, 'task/missing');
    await expect(page.getByLabel(/^What goes in/)).toHaveValue('A long question, written with care');
    await page.keyboard.press('Escape');
  });

  test('a task made by Enter twice is one, and a list that is read again does not wipe its new name away', async () => {
    const { page } = opened;
    await page.reload();
    await pasteRows(page);
    await page.getByRole('button', { name: /on this device$/ }).click();
    await page.getByRole('button', { name: 'New task' }).click();
    await page.getByRole('dialog', { name: 'A new task' }).getByLabel('Name').fill('Second');
    await pressTwice(page, 'Enter', false);
    await expect(page.getByRole('heading', { level: 1, name: 'Second' })).toBeVisible();
    await expect.poll(async () => [...(await kept(page)).tasks].sort()).toEqual(['My task', 'Second']);
    await page.getByRole('button', { name: 'Rename', exact: true }).first().click();
    await page.getByRole('dialog').getByLabel('Name').fill('Third');
    await readAgain(page);
    await expect(page.getByRole('dialog').getByLabel('Name')).toHaveValue('Third');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('heading', { level: 1, name: 'Third' })).toBeVisible();
  });

  test('numbers of a split that are typed stay while the task is read again', async () => {
    const { page } = opened;
    await pasteRows(page);
    await goTo(page, 'Data');
    await page.getByLabel(/^Validation, %/).fill('23');
    await readAgain(page);
    await expect(page.getByLabel(/^Validation, %/)).toHaveValue('23');
  });
});

/** A second model: the weights at the end are others. */
function another() {
  return smallModel().files.map((file) => {
    const buffer = readFileSync(file);
    if (file.endsWith('.safetensors')) buffer.fill(0, buffer.length - 64);
    return { name: path.basename(file), mimeType: 'application/octet-stream', buffer };
  });
}

test('a model that cannot be loaded leaves none on the GPU, and the page knows', async ({ browser }) => {
  const { context, page } = await openSite(browser, { model: smallModel(), rows: ROWS });
  await goTo(page, 'Models');
  await page.setInputFiles('[data-pick="files"]', another());
  await page.getByLabel('Name').fill('Second');
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  const [first, second] = [page.getByRole('row', { name: new RegExp(smallModel().name) }), page.getByRole('row', { name: /Second/ })];
  await expect(second).toContainText('on the GPU', { timeout: 60_000 });
  await page.evaluate(
    async (files) => {
      const blobs = await (await navigator.storage.getDirectory()).getDirectoryHandle('blobs');
      for (const name of files) await blobs.removeEntry(name);
    },
    (await records(page, 'models'))
      .filter(({ name }) => name !== 'Second')
      .flatMap(({ files }) => (Array.isArray(files) ? files : []))
      .filter(({ name }) => name === 'model.safetensors')
      .map(({ sha256 }) => String(sha256)),
  );
  await first.getByRole('button', { name: 'Load', exact: true }).click();
  await expectCode(page, 'storage/missing');
  await expect(foot(page)).toContainText('No model in use');
  await expect(second).not.toContainText('on the GPU');
  await second.getByRole('button', { name: 'Load', exact: true }).click();
  await expect(second).toContainText('on the GPU', { timeout: 60_000 });
  await context.close();
});

test('with a model here the network can be unplugged at once: the first question is answered', async ({ browser }) => {
  const { context, page } = await openSite(browser);
  const fetched: string[] = [];
  context.on('requestfinished', (request) => fetched.push(request.url()));
  await goTo(page, 'Models');
  await page.setInputFiles('[data-pick="files"]', [...smallModel().files]);
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  await expect(page.getByRole('row', { name: /on the GPU/ }).first()).toBeVisible({ timeout: 60_000 });
  // What renders its template comes with the model, not with the first question.
  await expect(() => expect(fetched.some((url) => /template-[^/]*\.js$/.test(url))).toBe(true)).toPass();
  await context.setOffline(true);
  await goTo(page, 'Chat');
  await page.getByLabel('Longest answer').fill('4');
  expect(await ask(page, 'Where is Max?')).toHaveLength(1);
  await context.close();
});

test.describe('prompts, runs and the board', () => {
  test.describe.configure({ mode: 'serial', timeout: 300_000 });
  let opened: Opened;
  test.beforeAll(async ({ browser }) => {
    opened = await openSite(browser, { model: smallModel(), rows: ROWS });
  });
  test.afterAll(() => opened.context.close());
  const names = async (page: Page) => [...(await kept(page)).contestants].sort();

  test('Base measured twice at once is measured', async () => {
    const { page } = opened;
    await goTo(page, 'Task');
    await expect(page.getByRole('button', { name: /^Measure Base/ })).toBeVisible();
    await twice(page, 'Measure Base');
    await expect(boardRow(page, 'Base')).toContainText('n = 6', { timeout: 60_000 });
    await idle(page);
    await expect(page.getByText('engine/busy')).toHaveCount(0);
    await expect(page.getByText('app/bug')).toHaveCount(0);
  });

  test('why a measurement ended is said until it is read', async () => {
    const { page } = opened;
    await page.getByRole('button', { name: 'Change the score' }).click();
    await page.getByLabel(/^Longest answer, tokens/).fill('5');
    await page.getByRole('button', { name: 'Change', exact: true }).last().click();
    await page.evaluate(
      () =>
        new Promise<void>((held) => {
          void navigator.locks.request('maquette gpu-job', () => {
            held();
            return new Promise<void>((release) => Object.assign(globalThis, { release }));
          });
        }),
    );
    await boardRow(page, 'Base').getByRole('button', { name: 'Measure Base again' }).click();
    const message = await expectCode(page, 'engine/other-tab');
    // The board is read again, as it is after every change.
    await page.getByRole('button', { name: 'Read the board again' }).click();
    await expect(message).toBeHidden();
    await page.evaluate(() => {
      const release: unknown = Reflect.get(globalThis, 'release');
      if (typeof release === 'function') release();
    });
  });

  test('a draft that is measured twice at once is one version', async () => {
    const { page } = opened;
    await goTo(page, 'Prompt');
    await page.getByLabel(/^What the model is told/).fill('Be short.');
    await twice(page, 'Measure the draft');
    await expect(page.getByRole('complementary', { name: 'Versions' })).toContainText('n = 6', { timeout: 60_000 });
    await idle(page);
    expect(await names(page)).toEqual(['Base', 'Prompt 1']);
    await expect(page.getByText('app/bug')).toHaveCount(0);
  });

  test('a draft that is the newest version is not saved again, nor are its words left out, where a key comes before the versions are read', async () => {
    const { page } = opened;
    await goTo(page, 'Train');
    await page.getByLabel(/^Trained under/).selectOption({ label: 'Prompt 1' });
    await setSetting(page, /validations a run/, '1');
    const calls = await holdCalls(page);
    await page.reload();
    await goTo(page, 'Task');
    await expect(boardRow(page, 'Prompt 1')).toContainText('n = 6');
    await calls.hold('board');
    await goTo(page, 'Prompt');
    await expect(page.getByLabel(/^What the model is told/)).toHaveValue('Be short.');
    const measure = page.getByRole('button', { name: /^Measure the draft/ });
    await expect(measure).toBeEnabled();
    await page.keyboard.press('Control+Enter');
    await calls.go();
    await expect(foot(page)).toContainText('GPU', { timeout: 60_000 });
    await expect(measure).toBeEnabled({ timeout: 60_000 });
    expect(await names(page)).toEqual(['Base', 'Prompt 1']);

    await goTo(page, 'Train');
    await calls.hold('board');
    await page.reload();
    // The worker of this page is another one.
    await calls.hold('board');
    await expect(page.getByRole('button', { name: /^Train LoRA/ })).toBeEnabled();
    const epochs = page.locator('details', { hasText: 'All settings' });
    await epochs.locator('summary').click();
    // Typed, and not left before the key.
    await epochs
      .getByRole('row', { name: /epochs/ })
      .getByRole('spinbutton')
      .fill('2');
    await page.keyboard.press('Control+Enter');
    await expect.poll(async () => (await records(page, 'runs')).length, { timeout: 60_000 }).toBe(1);
    await calls.go();
    const [run] = await records(page, 'runs');
    expect(run).toMatchObject({ prompt: { system: 'Be short.' }, config: { epochs: 2 } });
    await expect.poll(async () => (await records(page, 'runs'))[0]?.status, { timeout: 150_000 }).toBe('done');
    await idle(page);
  });

  test('a draft goes into the task that it was written for, whatever is opened while the model is loaded', async () => {
    const { page } = opened;
    await page.unrouteAll();
    const hold = await holdEngine(page);
    await page.reload();
    await goTo(page, 'Prompt');
    await page.getByLabel(/^What the model is told/).fill('Written for the first task.');
    await hold.stop('files');
    await page.keyboard.press('Control+Enter');
    await hold.reached();
    await goTo(page, 'Task');
    await page.getByRole('button', { name: /on this device$/ }).click();
    await page.getByRole('button', { name: 'New task' }).click();
    await page.getByRole('dialog', { name: 'A new task' }).getByLabel('Name').fill('Second');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('heading', { level: 1, name: 'Second' })).toBeVisible();
    await goTo(page, 'Prompt');
    await expect(page.getByLabel(/^What the model is told/)).toHaveValue('');
    await hold.go();
    await expect.poll(async () => (await names(page)).includes('Prompt 2'), { timeout: 60_000 }).toBe(true);
    await idle(page);
    const [tasks, made] = [await records(page, 'tasks'), await records(page, 'contestants')];
    const first = tasks.find(({ name }) => name !== 'Second');
    expect(made.find(({ name }) => name === 'Prompt 2')).toMatchObject({
      taskId: first?.id,
      prompt: { system: 'Written for the first task.' },
    });
    await expect.poll(async () => (await records(page, 'results')).filter(({ taskId }) => taskId !== first?.id).length).toBe(0);
  });
});
