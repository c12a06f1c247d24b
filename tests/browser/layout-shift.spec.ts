// Nothing that is read moves away while something loads: Cumulative Layout Shift, as the browser itself counts it (all shifts added, no window).
import { expect, type Page, test } from '@playwright/test';
import { holdEngine } from '../support/hold.ts';
import { openSite, smallModel } from '../support/screens.ts';
import { boardRow, goTo, ROWS } from '../support/site.ts';

/** A fifth of what web.dev calls good, 0.1. */
const LIMIT = 0.02;

interface Shift extends PerformanceEntry {
  readonly value: number;
  readonly hadRecentInput: boolean;
  readonly sources: readonly { readonly node: Node | null; readonly previousRect: DOMRect; readonly currentRect: DOMRect }[];
}

/** What moved on this page since it was loaded, by itself: each with its share and the elements. */
async function watchShifts(page: Page): Promise<() => Promise<{ sum: number; what: string[] }>> {
  await page.addInitScript(() => {
    const seen: string[] = [];
    let sum = 0;
    const isShift = (entry: PerformanceEntry): entry is Shift => entry.entryType === 'layout-shift';
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        if (!isShift(entry) || entry.hadRecentInput) continue;
        sum += entry.value;
        const moved = entry.sources.map(({ node, previousRect, currentRect }) => {
          const name = node instanceof Element ? `${node.tagName.toLowerCase()}.${node.className}` : node?.nodeName;
          return `${name} ${Math.round(previousRect.top)} to ${Math.round(currentRect.top)}`;
        });
        seen.push(`${entry.value.toFixed(4)}: ${moved.join(', ')}`);
      }
      document.documentElement.dataset.shifts = JSON.stringify({ sum, what: seen });
    }).observe({ type: 'layout-shift', buffered: true });
  });
  return async () => {
    await page.waitForTimeout(500);
    return page.evaluate(() => {
      const said: { sum: number; what: string[] } = JSON.parse(document.documentElement.dataset.shifts ?? '{"sum":0,"what":[]}');
      return said;
    });
  };
}

test.describe('on a device that was never here', () => {
  test.use({ storageState: { cookies: [], origins: [] } });
  for (const width of [1440, 320]) {
    test(`the first visit does not move what is read, ${width} px`, async ({ page }) => {
      await page.setViewportSize({ width, height: 900 });
      const shifts = await watchShifts(page);
      await page.goto('/');
      await expect(boardRow(page, 'System prompt')).toBeVisible({ timeout: 60_000 });
      await expect(page.getByText(/to train, then scored/)).toBeVisible({ timeout: 60_000 });
      const { sum, what } = await shifts();
      console.log(`first visit, ${width} px: ${sum.toFixed(4)}`);
      expect(sum, what.join('\n')).toBeLessThan(LIMIT);
    });
  }
});

test('a model that loads, and every screen that is opened, move nothing by themselves', async ({ browser }) => {
  const { context, page } = await openSite(browser, { model: smallModel(), rows: ROWS });
  await page.getByRole('button', { name: /^Measure Base/ }).click();
  await expect(boardRow(page, 'Base')).toContainText('n = 6', { timeout: 60_000 });
  const shifts = await watchShifts(page);
  const hold = await holdEngine(page);
  const found: string[] = [];
  let before = 0;
  const look = async (where: string, opened = true) => {
    const { sum: all, what } = await shifts();
    const sum = opened ? all : all - before;
    before = all;
    console.log(`${where}: ${sum.toFixed(4)}`);
    if (sum >= LIMIT) found.push(`${where}: ${sum.toFixed(4)}\n${what.join('\n')}`);
  };
  await goTo(page, 'Models');
  await page.reload();
  await expect(
    page
      .getByRole('row', { name: new RegExp(smallModel().name) })
      .getByRole('option')
      .nth(2),
  ).toBeAttached();
  await look('Models, opened');
  await hold.stop('files');
  await page.getByRole('button', { name: 'Load', exact: true }).click();
  await hold.reached();
  // What a press moves at once is no surprise; what moves later is.
  await page.waitForTimeout(600);
  await hold.go();
  await expect(page.getByRole('row', { name: new RegExp(smallModel().name) })).toContainText('on the GPU', { timeout: 60_000 });
  await look('Models, while one loads', false);
  for (const [screen, there] of [
    ['Task', () => expect(boardRow(page, 'Base')).toContainText('n = 6')],
    ['Data', () => expect(page.getByRole('row', { name: /Who lives in the red house/ })).toBeVisible()],
    ['Prompt', () => expect(page.getByLabel(/^What the model is told/)).toBeEnabled()],
    ['Train', () => expect(page.getByRole('button', { name: /^Train LoRA/ })).toBeVisible()],
    ['Chat', () => expect(page.getByLabel(/^Message/)).toBeVisible()],
    ['Export', () => expect(page.getByText(/Nothing has been made yet/)).toBeVisible()],
  ] as const) {
    await goTo(page, screen);
    await page.reload();
    await there();
    await look(screen);
  }
  expect(found).toEqual([]);
  await context.close();
});
