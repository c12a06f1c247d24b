// What the site promises in numbers: how much a first visit loads, and that the page stays free while its worker trains.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from '@playwright/test';
import { openSite, smallModel, startTraining } from '../support/screens.ts';
import { ROWS } from '../support/site.ts';

const DIST = path.resolve(import.meta.dirname, '../..', process.env.MAQUETTE_OUT ?? 'dist');
const FIRST_LOAD_BYTES = 150_000;
const TASK_MS = 100;

test('a first visit loads less than 150 kB gzipped, workers included', async ({ context, page, baseURL }) => {
  await context.addInitScript(() => localStorage.removeItem('maquette.first-use'));
  const paths = new Set<string>();
  let model = false;
  context.on('request', (request) => {
    if (request.url().startsWith(`${baseURL}/`)) paths.add(new URL(request.url()).pathname);
  });
  // What a model needs counts with the model: it is asked for when the first screen is drawn, and does not come.
  await context.route('**/*.gguf', () => {
    model = true;
  });
  await page.goto('/');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(() => expect(model).toBe(true)).toPass();
  await expect(() => expect([...paths].some((name) => /engine-.*\.js$/.test(name))).toBe(true)).toPass();
  await page.waitForTimeout(3000);
  await context.unrouteAll();
  paths.delete([...paths].find((name) => name.endsWith('.gguf')) ?? '');
  const sizes = [...paths].map((name) => {
    const bytes = gzipSync(readFileSync(path.join(DIST, name === '/' ? 'index.html' : name)), { level: 9 }).length;
    return { name, bytes };
  });
  const total = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
  console.log(`first load: ${total} bytes gzipped in ${sizes.length} files; the largest: ${largest(sizes)}`);
  expect(total).toBeLessThan(FIRST_LOAD_BYTES);
});

function largest(sizes: readonly { readonly name: string; readonly bytes: number }[]): string {
  const sorted = sizes.toSorted((a, b) => b.bytes - a.bytes).slice(0, 5);
  return sorted.map(({ name, bytes }) => `${path.basename(name)} ${bytes}`).join(', ');
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly dur?: number;
  readonly tdur?: number;
  readonly args?: {
    readonly name?: string;
    readonly data?: { readonly url?: string; readonly frames?: readonly { readonly url?: string; readonly processId?: number }[] };
  };
}

function isEvent(value: unknown): value is TraceEvent {
  if (typeof value !== 'object' || value === null) return false;

  return 'name' in value && 'ph' in value && 'pid' in value && 'tid' in value;
}

test('while it trains, no task of the page takes 100 ms of its thread', { tag: '@alone' }, async ({ browser, baseURL }) => {
  const { context, page } = await openSite(browser, { model: smallModel(), rows: ROWS });
  const cdp = await browser.newBrowserCDPSession();
  const events: TraceEvent[] = [];
  cdp.on('Tracing.dataCollected', ({ value }) => {
    for (const event of value) if (isEvent(event)) events.push(event);
  });
  await cdp.send('Tracing.start', {
    traceConfig: { includedCategories: ['toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline'] },
    transferMode: 'ReportEvents',
  });
  await startTraining(page, [
    [/epochs/, '200'],
    [/effective batch size/, '1'],
    [/validations a run/, '5'],
    [/validations without a better one/, '0'],
  ]);
  await expect(page.getByRole('contentinfo')).toContainText(/step ([2-9]\d|\d{3,4}) of/, { timeout: 90_000 });
  const ended = new Promise<void>((resolve) => cdp.once('Tracing.tracingComplete', () => resolve()));
  await cdp.send('Tracing.end');
  await ended;
  await page.getByRole('button', { name: 'Stop and keep best' }).click();
  // The page's process is the one whose frame has our address; its main thread is named so.
  const main = events.filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain');
  const ours = new Set(
    events.flatMap(({ args, pid }) =>
      (args?.data?.frames ?? [args?.data ?? {}]).some(({ url }) => url?.startsWith(baseURL ?? '') === true) ? [pid] : [],
    ),
  );
  const threads = new Set(main.filter(({ pid }) => ours.has(pid)).map(({ pid, tid }) => `${pid} ${tid}`));
  expect(threads.size).toBeGreaterThan(0);
  const tasks = events.filter(({ name, pid, tid, tdur }) => /RunTask$/.test(name) && tdur !== undefined && threads.has(`${pid} ${tid}`));
  const longest = tasks.reduce((most, { tdur }) => Math.max(most, tdur ?? 0), 0) / 1000;
  console.log(`${tasks.length} tasks of the page while training; the longest took ${longest.toFixed(1)} ms of its thread`);
  expect(tasks.length).toBeGreaterThan(100);
  expect(longest).toBeLessThan(TASK_MS);
  await context.close();
});
