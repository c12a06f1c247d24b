// Without a GPU, or without enough of its memory: what to do is said with numbers, and everything that needs no GPU goes on.
import { chromium, expect, type Page, test } from '@playwright/test';
import { picture } from '../support/picture.ts';
import { expectCode, kept, smallModel } from '../support/screens.ts';
import { addModel, goTo, pasteRows, ROWS } from '../support/site.ts';

const executablePath = process.env.CHROME_PATH;

test('a browser without WebGPU says what to install or switch on, and keeps data, prompts and board at work', async ({ baseURL }) => {
  const browser = await chromium.launch({
    ...(executablePath === undefined ? {} : { executablePath }),
    args: ['--no-sandbox', '--disable-features=WebGPU', '--disable-gpu'],
  });
  const page = await (await browser.newContext({ baseURL: baseURL ?? '' })).newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto('/');
  await expect(page.getByRole('contentinfo')).toContainText('No WebGPU');
  await goTo(page, 'Models');
  const message = page.getByRole('group').filter({ hasText: 'This browser gives pages no access to the GPU.' });
  await expect(message).toContainText(/Chrome|Edge|Firefox|Safari/);
  await expect(message).toContainText(/version|switch|newer|\d\d/i);
  await picture(page, 'no-webgpu-models');
  console.log(`without WebGPU: ${((await message.textContent()) ?? '').replaceAll(/\s+/g, ' ')}`);
  await pasteRows(page);
  await expect(page.getByText('This browser gives this page no access to a GPU.')).toBeVisible();
  await picture(page, 'no-webgpu-task');
  await goTo(page, 'Data');
  await expect(page.getByRole('table').getByRole('row')).toHaveCount(13);
  await page.getByRole('button', { name: 'Edit row 1', exact: true }).click();
  await page.getByLabel(/^What should come out/).fill('Nobody.');
  await page.getByRole('button', { name: 'Save the row' }).click();
  await expect(page.getByRole('cell', { name: 'Nobody.' })).toBeVisible();
  await goTo(page, 'Prompt');
  await page.getByLabel(/^What the model is told/).fill('Answer in one word.');
  await goTo(page, 'Train');
  await expect(page.getByText('Training needs the GPU, and this browser gives pages no access to it.')).toBeVisible();
  await picture(page, 'no-webgpu-train');
  await goTo(page, 'Chat');
  await expect(page.getByText('Answering needs the GPU, and this browser gives pages no access to it.')).toBeVisible();
  // Files are looked at and kept without a GPU: they wait for a browser that has one.
  await goTo(page, 'Models');
  await page.setInputFiles('[data-pick="files"]', [...smallModel().files]);
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  await expect(page.getByRole('heading', { name: 'On this device' })).toBeVisible({ timeout: 30_000 });
  await page.reload();
  await goTo(page, 'Prompt');
  await expect(page.getByLabel(/^What the model is told/)).toHaveValue('Answer in one word.');
  expect(errors).toEqual([]);
  await browser.close();
});

/** Gives the engine's worker a GPU that has only so much memory: past it the browser's own out-of-memory error comes up. */
async function limitGpu(page: Page, bytes: number): Promise<void> {
  const shim = `
    let held = 0, full = false;
    const create = GPUDevice.prototype.createBuffer, pop = GPUDevice.prototype.popErrorScope, destroy = GPUBuffer.prototype.destroy;
    const sizes = new Map();
    GPUDevice.prototype.createBuffer = function (d) {
      held += d.size; if (held > ${bytes}) full = true;
      const made = create.call(this, d); sizes.set(made, d.size); return made;
    };
    GPUBuffer.prototype.destroy = function () { held -= sizes.get(this) ?? 0; sizes.delete(this); destroy.call(this); };
    const push = GPUDevice.prototype.pushErrorScope, scopes = [];
    GPUDevice.prototype.pushErrorScope = function (filter) {
      scopes.push(filter); if (filter === 'out-of-memory') full = false;
      push.call(this, filter);
    };
    GPUDevice.prototype.popErrorScope = async function () {
      const ours = scopes.pop() === 'out-of-memory' && full;
      const error = await pop.call(this);
      return error === null && ours ? new GPUOutOfMemoryError('Not enough memory left.') : error;
    };
  `;
  await page.route(/assets\/engine-.*\.js$/, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: `${shim}\n${await answer.text()}` });
  });
}

test('a model that does not fit is refused with its number, and one that fits loads', async ({ browser }) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await limitGpu(page, 100_000);
  await page.goto('/');
  await goTo(page, 'Models');
  await page.setInputFiles('[data-pick="files"]', [...smallModel().files]);
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  const message = await expectCode(page, 'gpu/out-of-memory', 30_000);
  await expect(message).toContainText(/needs [\d.]+ [kM]B/);
  await expect(message).toContainText(/smaller|16-bit|half/);
  await picture(page, 'model-does-not-fit');
  console.log(`out of memory: ${((await message.textContent()) ?? '').replaceAll(/\s+/g, ' ')}`);
  expect((await kept(page)).models).toHaveLength(1);
  await context.close();
});

test('a model that fits only quantized is offered so, with what each way takes, and loads at one press', async ({ browser }) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await limitGpu(page, 200_000);
  await page.goto('/');
  await goTo(page, 'Models');
  await page.setInputFiles('[data-pick="files"]', [...smallModel().files]);
  await page.getByLabel('Name').fill('Tight');
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  const message = await expectCode(page, 'gpu/out-of-memory', 30_000);
  const ways = message.getByRole('button', { name: /^Hold it as .*, \d+ kB, and load$/ });
  await expect(ways).toHaveText([/Half floats/, /8-bit/, /4-bit/]);
  await picture(page, 'fits-only-quantized');
  await ways.filter({ hasText: '8-bit' }).click();
  const row = page.getByRole('row', { name: /Tight/ });
  await expect(row).toContainText('on the GPU', { timeout: 30_000 });
  await expect(page.getByRole('contentinfo')).toContainText('8-bit');
  await expect(message).toBeHidden();
  await context.close();
});

test('training that does not fit ends with its number and the settings that fit; the rows and the model stay', async ({ browser }) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await limitGpu(page, 2_500_000);
  await page.goto('/');
  await addModel(page, smallModel());
  await pasteRows(page, ROWS);
  await goTo(page, 'Train');
  await page.getByRole('button', { name: /^Train LoRA, / }).click();
  const message = await expectCode(page, 'gpu/out-of-memory', 60_000);
  await expect(message).toContainText(/needs [\d.]+ [kM]B/);
  console.log(`out of memory: ${((await message.textContent()) ?? '').replaceAll(/\s+/g, ' ')}`);
  // A run without a step has no curve.
  await expect(page.getByText('It ended before its first step')).toBeVisible();
  await expect(page.getByRole('heading', { name: /^Loss/ })).toHaveCount(0);
  await picture(page, 'training-does-not-fit');
  const after = await kept(page);
  expect(after.rows).toBe(12);
  expect(after.models).toHaveLength(1);
  await goTo(page, 'Chat');
  await context.close();
});
