import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Page } from '@playwright/test';

const FOLDER = path.resolve(import.meta.dirname, '../../shots');

/** `npm run shots` sets MAQUETTE_SHOTS: then a test of some trouble leaves a picture of it, wide and narrow. Elsewhere this does nothing. */
export async function picture(page: Page, name: string): Promise<void> {
  if (process.env.MAQUETTE_SHOTS === undefined) return;
  mkdirSync(FOLDER, { recursive: true });
  const before = page.viewportSize();
  for (const width of [1440, 320]) {
    await page.setViewportSize({ width, height: 1000 });
    await page.waitForTimeout(150);
    await page.screenshot({ path: path.join(FOLDER, `trouble-${name}-${width}-light.png`) });
  }
  if (before !== null) await page.setViewportSize(before);
}
