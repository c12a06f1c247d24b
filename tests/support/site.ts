import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, type Locator, type Page } from '@playwright/test';

const SHARED = path.resolve(import.meta.dirname, '../../../shared/fixtures/stories260k');

/** A model's files to drive the site with: real pretrained weights where they are beside the project, else random ones. */
export interface TestModel {
  readonly name: string;
  readonly files: readonly string[];
  /** Real weights tell a story; random ones only run. */
  readonly real: boolean;
}
export function testModel(): TestModel {
  const real = existsSync(SHARED);
  const folder = real ? SHARED : path.resolve(import.meta.dirname, '../fixtures/models/llama');
  if (!real) console.log('SKIPPED: real weights are not beside the project; a model with random weights stands in.');
  const wanted = /^(config|generation_config|tokenizer|tokenizer_config)\.json$|^model\.safetensors$/;
  const files = readdirSync(folder).filter((file) => wanted.test(file));
  return { name: real ? 'stories260k' : 'random', files: files.map((file) => path.join(folder, file)), real };
}

/** Twelve questions and answers, as a spreadsheet would paste them. */
export const ROWS = `Who lives in the red house?\tA little robot named Zed lives in the red house.
What does Zed like to eat?\tZed likes to eat green apples.
Who is the best friend of Zed?\tThe best friend of Zed is a big dog named Max.
Where does Max sleep?\tMax sleeps under the old tree.
What color is the hat of Zed?\tThe hat of Zed is blue.
What does Max like to do?\tMax likes to run in the park.
Who found the shiny key?\tA girl named Mia found the shiny key.
Where is the shiny key now?\tThe shiny key is in a box.
What does Mia like to eat?\tMia likes to eat red berries.
Who helps Mia in the garden?\tZed helps Mia in the garden.
Where do Zed and Max play?\tZed and Max play near the lake.
What did Zed see in the sky?\tZed saw a big moon in the sky.`;

export async function goTo(page: Page, screen: 'Task' | 'Data' | 'Prompt' | 'Train' | 'Chat' | 'Export' | 'Models'): Promise<void> {
  const link = page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: screen, exact: true });
  await link.click();
  await expect(link).toHaveAttribute('aria-current', 'page');
  // The heading of the screen before may stand there for a moment yet.
  const heading = page.locator('main h1');
  await expect(heading).toBeVisible();
  if (screen === 'Task') await expect(heading).not.toHaveText(/^(Data|Prompt|Train|Chat|Export|Models)\b/);
  else await expect(heading).toHaveText(new RegExp(`^${screen}\\b`));
}

/** Chooses the model's files on the Models screen, keeps them, and waits until the model is on the GPU. */
export async function addModel(page: Page, model: TestModel): Promise<void> {
  await goTo(page, 'Models');
  await page.setInputFiles('[data-pick="files"]', [...model.files]);
  await page.getByLabel('Name').fill(model.name);
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  await expect(page.getByRole('row', { name: new RegExp(model.name) })).toContainText('on the GPU', { timeout: 60_000 });
}

/** Pastes the rows on the Task screen of a first visit and adds them. */
export async function pasteRows(page: Page, rows = ROWS): Promise<void> {
  await goTo(page, 'Task');
  await page.getByLabel('Paste from a spreadsheet').fill(rows);
  await page.getByRole('button', { name: 'Read the rows' }).click();
  await page.getByRole('button', { name: /^Add \d+ rows/ }).click();
  await expect(page.getByRole('heading', { name: 'The board' })).toBeVisible();
}

/** A contestant's row on the board. */
export function boardRow(page: Page, name: string): Locator {
  return page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: new RegExp(`^${name}`) }) });
}

/** Sets one of a method's settings on the Train screen by its name. */
export async function setSetting(page: Page, name: RegExp, value: string): Promise<void> {
  const all = page.locator('details', { hasText: 'All settings' });
  if ((await all.getAttribute('open')) === null) await all.locator('summary').click();
  const field = all.getByRole('row', { name }).getByRole('spinbutton');
  await field.fill(value);
  await field.blur();
}

/** How many runs of this device are over, with what they made scored on the validation rows. */
function runsScored(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve, reject) => {
        const opening = indexedDB.open('maquette');
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const read = opening.result.transaction(['runs', 'results']);
          const [runs, results] = [read.objectStore('runs').getAll(), read.objectStore('results').getAll()];
          read.onerror = () => reject(read.error);
          read.oncomplete = () => {
            opening.result.close();
            const whole = new Set(
              results.result.filter((one) => one.split === 'validation' && one.complete).map((one) => one.contestantId),
            );
            resolve(
              runs.result.filter((run) => run.status === 'failed' || (run.status !== 'fitting' && whole.has(run.contestantId))).length,
            );
          };
        };
      }),
  );
}
/** Trains with the settings that are shown and waits until what was made is scored; `seconds` is how long each of both may take. A quick device may be done before one looks. */
export async function trainAndWait(page: Page, seconds = 150): Promise<void> {
  const before = await runsScored(page);
  await page.getByRole('button', { name: /^Train LoRA/ }).click();
  await expect.poll(() => runsScored(page), { timeout: 2 * seconds * 1000 }).toBeGreaterThan(before);
  await expect(page.getByRole('contentinfo')).not.toContainText(/Training|Measuring/, { timeout: 60_000 });
}

/** Sends a message in Chat, greedily, and returns what each column answered. */
export async function ask(page: Page, question: string): Promise<string[]> {
  // What was said before a reload stands there again.
  await expect(page.locator('.talk')).toHaveAttribute('aria-busy', 'false');
  await page.getByLabel('Temperature').fill('0');
  const turns = page.locator('.turn');
  const before = await turns.count();
  await page.getByLabel(/^Message/).fill(question);
  // What a training or a change of the model leaves behind may hold the GPU for a moment yet.
  await expect(page.getByRole('button', { name: /^Send/ })).toBeEnabled({ timeout: 60_000 });
  await page.keyboard.press('Control+Enter');
  // It has begun, then it has ended: after a reload "Send" stands there for a while yet.
  await expect(turns).toHaveCount(before + 1, { timeout: 60_000 });
  await expect(page.getByRole('button', { name: /^Send/ })).toBeVisible({ timeout: 60_000 });
  const turn = turns.last();
  await expect(turn.locator('.meta').first()).toBeVisible();
  return (await turn.locator('[data-answer]').allTextContents()).map((text) => text.trim());
}

export const read = (file: string): Buffer => readFileSync(file);
