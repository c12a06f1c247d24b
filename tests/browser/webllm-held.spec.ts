// web-llm beside what is held otherwise, and after its GPU was lost: a LoRA of a rounded base says what web-llm runs in its place, and a question takes the model
// back.
import path from 'node:path';
import { type Browser, chromium, expect, type Page, test } from '@playwright/test';
import { expectCode, openSite, smallModel } from '../support/screens.ts';
import { addModel, goTo, pasteRows, ROWS, setSetting, trainAndWait } from '../support/site.ts';
import { answerBy, askLong, bringLibrary, columnOf } from '../support/webllm.ts';

const FEW_ROWS = ROWS.split('\n').slice(0, 8).join('\n');
const LIBRARY = path.resolve(import.meta.dirname, '../webllm/libraries/llama-q0f32.wasm.gz');

test('a LoRA that was trained on 8 bits says what web-llm runs in their place, and what that changes', { tag: '@long' }, async ({
  browser,
}) => {
  test.setTimeout(420_000);
  const { context, page } = await openSite(browser, { model: smallModel() });
  const row = page.getByRole('row', { name: /small llama/ }).first();
  const held = row.getByRole('combobox', { name: 'How small llama is held on the GPU' });
  await held.selectOption({ label: (await held.getByRole('option', { name: /^8-bit/ }).textContent()) ?? '' });
  await row.getByRole('button', { name: 'Load', exact: true }).click();
  await expect(page.getByRole('contentinfo')).toContainText('8-bit', { timeout: 60_000 });
  await bringLibrary(page, LIBRARY);
  await pasteRows(page, FEW_ROWS);
  await goTo(page, 'Train');
  await setSetting(page, /epochs/, '1');
  await trainAndWait(page);
  await goTo(page, 'Chat');
  await page.getByLabel('Longest answer').fill('6');
  await answerBy(page, 1, 'web-llm');
  await askLong(page);
  await expect(columnOf(page, 1)).toContainText('by web-llm');
  const said =
    /Trained on 8-bit \(Q8_0\), and web-llm runs it as Exact floats \(F32\): (none|\d) of 3 pinned prompts (is|are) answered differently\./;
  await expect(columnOf(page, 1).getByText(said)).toBeVisible();
  await expect(columnOf(page, 1).getByText('adapter/other-numbers')).toBeVisible();
  // Our engine has the numbers that it was trained on.
  await page.getByRole('button', { name: 'Start anew' }).click();
  await answerBy(page, 1, 'our engine');
  await askLong(page);
  await expect(columnOf(page, 1)).toContainText('by our engine');
  await expect(page.getByText('adapter/other-numbers')).toBeHidden();
  await context.close();
});

/** Ends the device of web-llm alone, as it does itself where the GPU refuses it memory. */
const LOSE = `
  if (self.name === 'maquette web-llm') {
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (descriptor) {
      const device = await request.call(this, descriptor);
      new BroadcastChannel('lose the gpu').addEventListener('message', () => device.destroy());
      return device;
    };
  }
`;
/** All that the page says from now on is looked at for these words. */
async function watchFor(page: Page, words: string): Promise<() => Promise<boolean>> {
  await page.evaluate((wanted) => {
    delete document.body.dataset.said;
    const look = (): void => {
      if (document.body.textContent.includes(wanted)) document.body.dataset.said = 'yes';
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  }, words);
  return () => page.evaluate(() => document.body.dataset.said === 'yes');
}

test('after its GPU was lost between two answers, the next question loads the model into web-llm again and is answered', {
  tag: '@long',
}, async () => {
  test.setTimeout(600_000);
  // A browser of its own: its GPU process is ended.
  const { launchOptions, baseURL } = test.info().project.use;
  const browser: Browser = await chromium.launch(launchOptions);
  try {
    const { context, page } = await openSite(browser, {}, baseURL);
    await context.route(/assets\/webllm-[^/]*\.js$/, async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: `${LOSE}\n${await answer.text()}` });
    });
    await addAll(page);
    const [first] = await askLong(page);
    await expect(columnOf(page, 0)).toContainText('by web-llm');
    expect(first).not.toBe('');

    await page.evaluate(() => new BroadcastChannel('lose the gpu').postMessage('now'));
    const reloads = await watchFor(page, 'Loading small llama into web-llm');
    await page.getByRole('button', { name: 'Start anew' }).click();
    expect(await askLong(page)).toEqual([first]);
    await expect(columnOf(page, 0)).toContainText('by web-llm');
    expect(await reloads()).toBe(true);

    // The whole GPU: our engine's worker, which started that of web-llm, is a new one too.
    const cdp = await browser.newBrowserCDPSession();
    await cdp.send('Browser.crashGpuProcess').catch(() => undefined);
    await expectCode(page, 'gpu/lost', 60_000);
    const again = await watchFor(page, 'Loading small llama into web-llm');
    await page.getByRole('button', { name: 'Start anew' }).click();
    expect(await askLong(page)).toEqual([first]);
    await expect(columnOf(page, 0)).toContainText('by web-llm');
    expect(await again()).toBe(true);
  } finally {
    await browser.close();
  }
});
async function addAll(page: Page): Promise<void> {
  await addModel(page, smallModel());
  await bringLibrary(page, LIBRARY);
  await pasteRows(page, FEW_ROWS);
  await goTo(page, 'Chat');
  await page.getByLabel('Longest answer').fill('6');
  await answerBy(page, 0, 'web-llm');
}
