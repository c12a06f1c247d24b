// A model in fewer bits, in the browser: what is offered, a GGUF of 4 bits kept as it is, another way of holding it chosen later, answers and training,
// and weights that were trained on a base held otherwise.
import path from 'node:path';
import { expect, type Page, test } from '@playwright/test';
import { picture } from '../support/picture.ts';
import { ask, goTo, pasteRows, setSetting, trainAndWait } from '../support/site.ts';

const FILE = path.resolve(import.meta.dirname, '../fixtures/quant/llama/gguf_q4_1/model.gguf');
const offered = (page: Page) => page.getByRole('group', { name: 'How it is held on the GPU' });

test('a GGUF of 4 bits is kept as it is, answers and trains, and can be held in 8 bits', async ({ page }) => {
  await page.goto('/');
  await goTo(page, 'Models');
  await page.setInputFiles('[data-pick="files"]', FILE);
  const choices = offered(page).getByRole('radio');
  await expect(choices).toHaveCount(4);
  await expect(offered(page).getByRole('radio', { name: /^As it is \(Q4_1\).*loses nothing, proposed$/ })).toBeChecked();
  await expect(offered(page).getByRole('radio', { name: /^8-bit \(Q8_0\).*to chat,.*to tune with LoRA/ })).toBeVisible();
  await expect(page.getByText(/Its weights have 4 bits already \(Q4_1\)/)).toBeVisible();
  await expect(page.getByText('model/four-bits-already')).toBeVisible();
  await picture(page, 'four-bits-already');
  await page.getByLabel('Name').fill('Four bits');
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  const row = page.getByRole('row', { name: /Four bits/ });
  await expect(row).toContainText('on the GPU', { timeout: 60_000 });
  const held = row.getByRole('combobox', { name: 'How Four bits is held on the GPU' });
  await expect(held.getByRole('option')).toHaveText([/^As it is \(Q4_1\), .*B$/, /^Exact floats/, /^Half floats/, /^8-bit \(Q8_0\), .*B$/]);

  await goTo(page, 'Chat');
  const [first] = await ask(page, 'Where?');
  expect(first.length).toBeGreaterThan(0);

  await goTo(page, 'Models');
  await held.selectOption({ label: (await held.getByRole('option', { name: /^8-bit/ }).textContent()) ?? '' });
  await row.getByRole('button', { name: 'Load' }).click();
  await expect(row).toContainText('on the GPU', { timeout: 60_000 });
  await expect(page.getByRole('contentinfo')).toContainText('8-bit');
  await picture(page, 'models-quantized');
  await pasteRows(page);
  await goTo(page, 'Train');
  await setSetting(page, /epochs/, '1');
  await trainAndWait(page);

  // Another base than it was trained on: said, and measured on the pinned prompts.
  await goTo(page, 'Models');
  await held.selectOption({ label: (await held.getByRole('option', { name: /^Exact/ }).textContent()) ?? '' });
  await goTo(page, 'Chat');
  await ask(page, 'Where?');
  const said =
    /Trained on 8-bit \(Q8_0\), and the model is held as Exact floats \(F32\) now: (none|\d) of 3 pinned prompts (is|are) answered differently\./;
  await expect(page.getByText(said)).toBeVisible();
  await expect(page.getByText('adapter/other-numbers')).toBeVisible();
  await picture(page, 'adapter-on-other-numbers');
});
