// Load, train, unload through the site and its worker: GPU bytes, counted by wrapping the device, return to where they were; so do both heaps.
import { type CDPSession, chromium, expect, type Page, test } from '@playwright/test';
import { openSite, smallModel } from '../support/screens.ts';
import { goTo, ROWS, setSetting, trainAndWait } from '../support/site.ts';

/** `npm run soak` makes 20. */
const CYCLES = Number(process.env.MAQUETTE_CYCLES ?? 3);

/** All that a machine learns of code that runs often is made at the first call, so that only what the program holds on to is left to see. */
const AT_ONCE = ['--no-lazy-feedback-allocation', '--no-opt', '--no-maglev', '--no-sparkplug', '--no-flush-bytecode'];

/** Counts the bytes of live GPU buffers in the engine's worker and tells them to whoever asks on a channel. */
async function countGpuBytes(page: Page): Promise<void> {
  const shim = `
    let live = 0, most = 0;
    const create = GPUDevice.prototype.createBuffer, destroy = GPUBuffer.prototype.destroy, sizes = new WeakMap();
    GPUDevice.prototype.createBuffer = function (d) {
      const made = create.call(this, d); sizes.set(made, d.size); live += d.size; most = Math.max(most, live); return made;
    };
    GPUBuffer.prototype.destroy = function () { live -= sizes.get(this) ?? 0; sizes.delete(this); destroy.call(this); };
    const channel = new BroadcastChannel('gpu bytes');
    channel.onmessage = () => channel.postMessage({ live, most });
  `;
  await page.route(/assets\/engine-.*\.js$/, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: `${shim}\n${await answer.text()}` });
  });
}
const gpuBytes = (page: Page): Promise<{ live: number; most: number }> =>
  page.evaluate(
    () =>
      new Promise((resolve) => {
        const channel = new BroadcastChannel('gpu bytes');
        channel.onmessage = ({ data }) => {
          channel.close();
          resolve(data);
        };
        channel.postMessage('how many');
      }),
  );

/** Bytes of the page's heap and of its worker's, after collections. */
async function heaps(page: Page, cdp: CDPSession, worker: string): Promise<{ page: number; worker: number }> {
  const inWorker = (method: string): Promise<unknown> =>
    new Promise((resolve) => {
      const id = Math.floor(Math.random() * 1e9);
      const heard = ({ message }: { message: string }): void => {
        const answer: { id?: number; result?: unknown } = JSON.parse(message);
        if (answer.id !== id) return;
        cdp.off('Target.receivedMessageFromTarget', heard);
        resolve(answer.result);
      };
      cdp.on('Target.receivedMessageFromTarget', heard);
      void cdp.send('Target.sendMessageToTarget', { sessionId: worker, message: JSON.stringify({ id, method, params: {} }) });
    });
  for (let i = 0; i < 3; i++) {
    await cdp.send('HeapProfiler.collectGarbage');
    await inWorker('HeapProfiler.collectGarbage');
    await page.waitForTimeout(100);
  }
  const { usedSize } = await cdp.send('Runtime.getHeapUsage');
  const used = await inWorker('Runtime.getHeapUsage');
  const bytes = typeof used === 'object' && used !== null ? Number(Reflect.get(used, 'usedSize')) : Number.NaN;
  return { page: usedSize, worker: bytes };
}

test(`${CYCLES} cycles of load, train 3 steps, unload in the site leave no GPU bytes behind`, { tag: '@alone' }, async () => {
  test.setTimeout(120_000 + 20_000 * CYCLES);
  const { launchOptions, baseURL } = test.info().project.use;
  const flags = `--js-flags=${AT_ONCE.join(',')}`;
  const browser = await chromium.launch({ ...launchOptions, args: [...(launchOptions?.args ?? []), flags] });
  const { page, context } = await openSite(browser, {}, baseURL);
  await countGpuBytes(page);
  const cdp = await context.newCDPSession(page);
  // The first worker goes with the reload; the newest one is meant.
  let worker = '';
  cdp.on('Target.attachedToTarget', ({ sessionId, targetInfo }) => {
    if (targetInfo.type === 'worker') worker = sessionId;
  });
  await cdp.send('Target.setAutoAttach', { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  await page.reload();

  await goTo(page, 'Models');
  await page.setInputFiles('[data-pick="files"]', [...smallModel().files]);
  await page.getByLabel('Name').fill(smallModel().name);
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  const row = page.getByRole('row', { name: new RegExp(smallModel().name) });
  await expect(row).toContainText('on the GPU', { timeout: 60_000 });
  await goTo(page, 'Task');
  await page.getByLabel('Paste from a spreadsheet').fill(ROWS);
  await page.getByRole('button', { name: 'Read the rows' }).click();
  await page.getByRole('button', { name: /^Add \d+ rows/ }).click();
  await expect(page.getByRole('heading', { name: 'The board' })).toBeVisible();

  const cycle = async (): Promise<void> => {
    await goTo(page, 'Models');
    if (await row.getByRole('button', { name: 'Load', exact: true }).isVisible()) {
      await row.getByRole('button', { name: 'Load', exact: true }).click();
      await expect(row).toContainText('on the GPU', { timeout: 60_000 });
    }
    await goTo(page, 'Train');
    // Six rows, two a step.
    await setSetting(page, /effective batch size/, '2');
    await setSetting(page, /epochs/, '1');
    await setSetting(page, /validations a run/, '1');
    await trainAndWait(page);
    // The run is not needed any more: only what it leaves in memory is looked at.
    await page.getByRole('button', { name: 'Delete the run…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete the run' }).click();
    await goTo(page, 'Models');
    await row.getByRole('button', { name: 'Unload' }).click();
    await expect(row.getByRole('button', { name: 'Load', exact: true })).toBeVisible();
    // The row says so when the worker has begun to unload: what is freed a moment later is no leak, what stays is. Nothing stays.
    await expect.poll(async () => (await gpuBytes(page)).live).toBe(0);
  };
  await cycle();
  const first = await gpuBytes(page);
  const heap = await heaps(page, cdp, worker);
  for (let i = 1; i < CYCLES; i++) await cycle();
  const last = await gpuBytes(page);
  const heapAfter = await heaps(page, cdp, worker);
  const MB = (n: number): string => (n / 1e6).toFixed(1);
  console.log(
    `${CYCLES} cycles: ${first.most} GPU bytes at the most, ${first.live} after the first, ${last.live} after the last; ` +
      `heap of the page ${MB(heap.page)}, then ${MB(heapAfter.page)} MB; of the worker ${MB(heap.worker)}, then ${MB(heapAfter.worker)} MB`,
  );
  expect(first.most).toBeGreaterThan(100_000);
  expect(last.live).toBe(first.live);
  expect(last.most).toBe(first.most);
  expect(heapAfter.page).toBeLessThanOrEqual(1.05 * heap.page);
  expect(heapAfter.worker).toBeLessThanOrEqual(1.05 * heap.worker);
  await browser.close();
});
