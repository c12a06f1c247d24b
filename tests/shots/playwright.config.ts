import { defineConfig } from '@playwright/test';
import base from '../../playwright.config.ts';

/** `npm run shots`: every screen and state as pictures in shots/, and axe over each of them; the tests of troubles leave one of each. Not part of `npm test`. */
export default defineConfig({
  ...base,
  testDir: '..',
  testMatch: [
    'shots/*.spec.ts',
    'browser/lost.spec.ts',
    'browser/no-webgpu.spec.ts',
    'browser/quantized.spec.ts',
    'browser/full.spec.ts',
    'browser/unreadable.spec.ts',
    'browser/bad-input.spec.ts',
    'browser/mlc.spec.ts',
  ],
  outputDir: `${process.env.MAQUETTE_RESULTS ?? '../../test-results'}/shots`,
  reporter: 'list',
  timeout: 2_400_000,
});
