// Nothing leaves this device, and the alarm that would tell is itself tested: with a leak planted in the page and one in a worker it must ring.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import path from 'node:path';
import { expect, type Page, test, type Worker } from '@playwright/test';
import { openSite, smallModel } from '../support/screens.ts';
import { ask, goTo, ROWS } from '../support/site.ts';
import { watchTraffic } from '../support/traffic.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const VITE = path.join(ROOT, 'node_modules/vite/bin/vite.js');

async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || address === null) throw new Error('The system gave no port.');
  return address.port;
}

/** Builds the site with a leak planted there and serves it while `use` runs. */
async function withLeak(place: 'page' | 'worker', use: (origin: string) => Promise<void>): Promise<void> {
  const env = { ...process.env, MAQUETTE_PLANT_LEAK: place, MAQUETTE_OUT: `dist-leak-${place}` };
  const built = spawn(process.execPath, [VITE, 'build'], { cwd: ROOT, env, stdio: 'ignore' });
  const [code] = await once(built, 'exit');
  expect(code).toBe(0);
  const port = await freePort();
  const server = spawn(process.execPath, [VITE, 'preview', '--port', String(port), '--strictPort'], { cwd: ROOT, env, stdio: 'ignore' });
  const origin = `http://localhost:${port}`;
  try {
    await expect(async () => expect((await fetch(origin)).ok).toBe(true)).toPass({ timeout: 30_000 });
    await use(origin);
  } finally {
    server.kill();
  }
}

for (const place of ['page', 'worker'] as const) {
  test(`a leak planted in the ${place} is seen`, async ({ context, page }) => {
    await withLeak(place, async (origin) => {
      const traffic = watchTraffic(context, origin);
      await page.goto(origin);
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
      await expect(() => expect(traffic.foreign.some((sign) => sign.includes('leak.invalid'))).toBe(true)).toPass({ timeout: 20_000 });
      console.log(`${place}: ${traffic.foreign.join(' | ')}`);
    });
  });
}

/** What came of a fetch to another origin, tried in the page or in one of its workers. */
const FETCH = async (): Promise<string> => {
  const get: unknown = Reflect.get(globalThis, 'fetch');
  if (typeof get !== 'function') return 'there is no fetch';
  return fetch('https://leak.invalid/').then(
    () => 'sent',
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
};
async function engineWorker(page: Page): Promise<Worker> {
  let found: Worker | undefined;
  await expect(async () => {
    for (const worker of page.workers()) if (await worker.evaluate(() => self.name === 'maquette engine')) found = worker;
    expect(found).toBeDefined();
  }).toPass();
  if (found === undefined) throw new Error('The engine has no worker.');
  return found;
}

test('the policy stops a request from the page and from the engine, and the person is told', async ({ browser }) => {
  const { context, page } = await openSite(browser);
  await expect(page.getByRole('contentinfo')).toContainText('Nothing has left this device');
  const said: string[] = [];
  page.on('console', (message) => said.push(message.text()));
  expect(await page.evaluate(FETCH)).toBe('TypeError');
  await expect(() => expect(said.some((text) => /Content Security Policy/.test(text))).toBe(true)).toPass();
  const worker = await engineWorker(page);
  // Taken away when its modules have run.
  await expect.poll(() => worker.evaluate(FETCH)).toBe('there is no fetch');
  // What cannot be taken away is stopped by the policy, which a worker has from its page.
  const imported = await worker.evaluate(() =>
    import(new URL('https://leak.invalid/x.js').href).then(
      () => 'loaded',
      (error: unknown) => (error instanceof Error ? error.name : String(error)),
    ),
  );
  expect(imported).toBe('TypeError');
  await context.close();
});

test('a short journey asks no other origin for anything', async ({ browser, baseURL }) => {
  const { context, page } = await openSite(browser, { model: smallModel(), rows: ROWS });
  const traffic = watchTraffic(context, baseURL ?? '');
  await page.reload();
  for (const screen of ['Data', 'Prompt', 'Train', 'Export', 'Models', 'Chat'] as const) await goTo(page, screen);
  await page.getByLabel('Longest answer').fill('8');
  await ask(page, 'Where is the key?');
  expect(traffic.foreign).toEqual([]);
  await expect(page.getByRole('contentinfo')).toContainText('0 bytes sent');
  await context.close();
});
