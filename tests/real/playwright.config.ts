import path from 'node:path';
import { defineConfig } from '@playwright/test';
import base from '../../playwright.config.ts';

/** The main job on a real model: the same browser and server as the browser tests, with the time that a software GPU needs. */
export default defineConfig({
  ...base,
  use: { ...base.use, actionTimeout: 60_000, screenshot: 'only-on-failure' },
  testDir: '.',
  testMatch: 'site.spec.ts',
  timeout: 5_400_000,
  outputDir: path.join(process.env.MAQUETTE_REAL_WORK ?? '.real/work', 'browser'),
  reporter: [['list', { printSteps: true }]],
  webServer:
    base.webServer === undefined || Array.isArray(base.webServer)
      ? []
      : { ...base.webServer, cwd: path.resolve(import.meta.dirname, '../..') },
});
