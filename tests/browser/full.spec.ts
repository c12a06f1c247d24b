// A disk that is full while a model is kept: the numbers are said, what can be freed is listed, and what was there stays.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@playwright/test';
import { picture } from '../support/picture.ts';
import { expectCode, kept, openSite, smallModel } from '../support/screens.ts';
import { goTo } from '../support/site.ts';

/** The small model again under another hash: a space more in its configuration. */
function another() {
  return smallModel().files.map((file) => {
    const name = path.basename(file);
    const buffer = readFileSync(file);
    // The last weights are others, so that not a byte is shared.
    if (name.endsWith('.safetensors')) buffer.fill(0, buffer.length - 64);
    return {
      name,
      mimeType: 'application/octet-stream',
      buffer: name === 'config.json' ? Buffer.concat([buffer, Buffer.from(' ')]) : buffer,
    };
  });
}

test('a full disk while a model is kept: how much was needed, what can be freed, and after that it is kept', async ({
  browser,
  baseURL,
}) => {
  const { context, page } = await openSite(browser, { model: smallModel() });
  const cdp = await context.newCDPSession(page);
  const origin = new URL(baseURL ?? '').origin;
  const { usage } = await cdp.send('Storage.getUsageAndQuota', { origin });
  await cdp.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: usage + 150_000 });
  await goTo(page, 'Models');
  const before = await kept(page);
  await page.setInputFiles('[data-pick="files"]', another());
  await page.getByLabel('Name').fill('Second');
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  const message = await expectCode(page, 'storage/full', 30_000);
  await expect(message.getByRole('heading')).toContainText(
    /^[\d.]+ [kM]B did not fit into the browser's storage, where [\d.]+ [kM]B of this site are kept\./,
  );
  await expect(message).toContainText('Nothing that was saved before is lost.');
  await expect(message.locator('p.mono').first()).toContainText(/bytesNeeded \d+/);
  await expect(message.getByRole('button', { name: /^Remove, free [\d.]+ [kM]B…$/ })).toBeVisible();
  await picture(page, 'full-disk');
  // What was taken for the half that fitted is given back, and nothing that was there has changed.
  await expect.poll(() => kept(page)).toEqual(before);

  await message.getByRole('button', { name: /^Remove, free/ }).click();
  await message.getByRole('button', { name: /^Remove it for good, free/ }).click();
  await expect(message).toBeHidden();
  await page.getByRole('button', { name: /^Keep .* on this device$/ }).click();
  await expect(page.getByRole('row', { name: /Second/ })).toContainText('on the GPU', { timeout: 60_000 });
  expect((await kept(page)).models).toEqual(['Second']);
  await cdp.send('Storage.overrideQuotaForOrigin', { origin });
  await context.close();
});
