import { defineConfig } from '@playwright/test';
import base from '../../playwright.config.ts';

/** `npm run bench:webllm`: its page is built and served by the bench itself. Not part of `npm test`. */
const { webServer: _, ...rest } = base;
export default defineConfig({
  ...rest,
  testDir: '.',
  testMatch: ['*.play.ts'],
  outputDir: '../../test-results/bench-webllm',
  reporter: 'list',
});
