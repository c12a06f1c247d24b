// The pictures of `npm run shots`, and what is held of each of them: nothing that axe calls serious, nothing that scrolls sideways.
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import { expect, type Page } from '@playwright/test';

export const FOLDER = path.resolve(import.meta.dirname, '../../shots');
const WIDTHS = [1440, 768, 320];
const SCHEMES = ['light', 'dark'] as const;
/** Set by `npm run shots`: which pictures are taken, by name. Elsewhere nothing is taken. */
const WANTED = process.env.MAQUETTE_SHOTS === undefined ? undefined : new RegExp(process.env.MAQUETTE_SHOTS);

/** To look at a change sooner: of the six looks those that match, as "1440-light|320". */
const LOOKS = new RegExp(process.env.MAQUETTE_LOOKS ?? '');

/** The screen as it stands, at each width and in both schemes, as tall as its content; axe and the width are looked at beside it. */
export async function picture(page: Page, name: string): Promise<void> {
  if (WANTED === undefined || !WANTED.test(name)) return;
  mkdirSync(FOLDER, { recursive: true });
  const before = page.viewportSize();
  const found: string[] = [];
  for (const scheme of SCHEMES) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    for (const width of WIDTHS) {
      if (!LOOKS.test(`${width}-${scheme}`)) continue;
      await page.setViewportSize({ width, height: 900 });
      await page.waitForTimeout(150);
      const height = await page.evaluate(() => document.documentElement.scrollHeight);
      await page.setViewportSize({ width, height: Math.min(Math.max(height, 900), 6000) });
      await page.waitForTimeout(100);
      const wide = await page.evaluate(() => {
        const inside = [...document.querySelectorAll('dialog[open]')].some((dialog) => dialog.scrollWidth > dialog.clientWidth);
        return inside ? Number.POSITIVE_INFINITY : document.documentElement.scrollWidth;
      });
      if (wide > width) found.push(`${name} ${width}: it scrolls sideways, ${wide} px wide`);
      await page.screenshot({ path: path.join(FOLDER, `${name}-${width}-${scheme}.png`) });
      // Dark differs from light in its colours alone, and those are the same at each width.
      if (scheme === 'light' ? width === 768 : width !== 1440) continue;
      const axe = new AxeBuilder({ page });
      const { violations } = await (scheme === 'dark' ? axe.withRules(['color-contrast']) : axe).analyze();
      for (const { id, impact, nodes } of violations) {
        if (impact !== 'serious' && impact !== 'critical') continue;
        found.push(`${name} ${width} ${scheme}: ${id}, ${nodes.map((node) => node.target.join(' ')).join('; ')}`);
      }
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  if (before !== null) await page.setViewportSize(before);
  expect.soft(found).toEqual([]);
}
