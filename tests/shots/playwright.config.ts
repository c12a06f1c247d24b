import { defineConfig } from '@playwright/test';
import base from '../../playwright.config.ts';

/** `npm run shots`: every screen and state as pictures in shots/, and axe over each of them. Not part of `npm test`. */
export default defineConfig({ ...base, testDir: '.', outputDir: '../../test-results/shots', reporter: 'list', timeout: 1_200_000 });
