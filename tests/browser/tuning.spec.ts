// The first-run measurement of kernels: after the first answer and never before it, remembered under the device's name, made again for other kernels.
import { expect, type Page, test } from '@playwright/test';
import { importModel, open, useHarness } from './harness/page.ts';

useHarness();

interface Kept {
  readonly key: string;
  readonly value: { readonly device: string; readonly kernels: string; readonly chosen: Readonly<Record<string, string>> };
}
interface Setting {
  readonly key: string;
  readonly value: unknown;
}
const isSetting = (record: unknown): record is Setting =>
  typeof record === 'object' && record !== null && 'key' in record && 'value' in record;
async function allSettings(page: Page): Promise<readonly Setting[]> {
  return (await page.evaluate(async () => (await maquette.database()).getAll('settings'))).filter(isSetting);
}
async function write(page: Page, key: string, value: string): Promise<void> {
  await page.evaluate(async (record) => void (await (await maquette.database()).put('settings', record)), { key, value });
}
/** The settings that hold a measurement. */
async function kept(page: Page): Promise<Kept[]> {
  return (await allSettings(page))
    .filter(({ key }) => key.startsWith('kernels on '))
    .map(({ key, value }) => ({ key, value: JSON.parse(String(value)) }));
}
async function ask(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const messages = [{ role: 'user' as const, content: 'Once upon a time' }];
    const request = { messages, strength: 1, temperature: 0, topK: 0, topP: 1, seed: 1, maxTokens: 4 };
    await maquette.engine().chat(request, () => undefined, new AbortController().signal);
  });
}
async function reload(page: Page, modelId: string): Promise<void> {
  await page.reload();
  await page.waitForFunction(() => 'maquette' in globalThis);
  await page.evaluate((id) => maquette.engine().loadModel(id, () => undefined, new AbortController().signal), modelId);
}

test('kernels are measured after the first answer, once for a device and a version of them', async ({ page }) => {
  await open(page);
  const modelId = await importModel(page);
  expect(await kept(page)).toEqual([]);
  await page.waitForTimeout(1500);
  expect(await kept(page)).toEqual([]); // nobody has been answered yet
  await ask(page);
  await expect.poll(async () => (await kept(page)).length, { timeout: 30_000 }).toBe(1);
  const [first] = await kept(page);
  expect(first?.key).toBe(`kernels on ${first?.value.device}`);
  expect(Object.keys(first?.value.chosen ?? {}).length).toBeGreaterThan(0);

  // The same kernels: what is remembered stays, whatever it says.
  const marked = { ...first?.value, chosen: { ...first?.value.chosen, mark: 'kept' } };
  await write(page, first?.key ?? '', JSON.stringify(marked));
  await reload(page, modelId);
  await ask(page);
  await page.waitForTimeout(3000);
  expect((await kept(page))[0]?.value.chosen).toHaveProperty('mark');

  // Other kernels, and no measurement at all: both are made again.
  for (const value of [JSON.stringify({ ...marked, kernels: 'older' }), 'no measurement']) {
    await write(page, first?.key ?? '', value);
    await reload(page, modelId);
    await ask(page);
    await expect
      .poll(async () => (await allSettings(page)).find(({ key }) => key === first?.key)?.value, { timeout: 30_000 })
      .not.toBe(value);
    const [again] = await kept(page);
    expect(again?.value.kernels).toBe(first?.value.kernels);
    expect(again?.value.chosen).not.toHaveProperty('mark');
  }
});
