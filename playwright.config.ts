import { defineConfig } from '@playwright/test';

/** Two people who test at once on one machine each name a port, and with MAQUETTE_OUT a folder, of their own. */
const PORT = Number(process.env.MAQUETTE_PORT ?? 4173);

/** The built site in a headless browser whose GPU is SwiftShader. `npm test` builds first and names the browser in CHROME_PATH. */
export default defineConfig({
  testDir: 'tests/browser',
  testMatch: '**/*.spec.ts',
  // What takes too long for every change runs with `npm run nightly` (and what is of web-llm with `npm run test:webllm`).
  ...(process.env.MAQUETTE_LONG === undefined ? { grepInvert: /@long/ } : {}),
  // `npm test` runs what measures times by itself first, and the rest two at a time: most of a test is waiting for one thread or another.
  ...(process.env.MAQUETTE_PART === 'alone' ? { grep: /@alone/ } : {}),
  ...(process.env.MAQUETTE_PART === 'together' ? { grepInvert: /@alone|@long/ } : {}),
  timeout: 180_000,
  expect: { timeout: 20_000 },
  workers: process.env.MAQUETTE_PART === 'together' ? 2 : 1,
  forbidOnly: true,
  retries: 0,
  outputDir: process.env.MAQUETTE_RESULTS ?? 'test-results',
  reporter: [['list'], ['json', { outputFile: `${process.env.MAQUETTE_RESULTS ?? 'test-results'}/report.json` }]],
  use: {
    baseURL: `http://localhost:${PORT}`,
    // Specs start on a device where the first visit is over; those of the first visit forget this.
    storageState: {
      cookies: [],
      origins: [{ origin: `http://localhost:${PORT}`, localStorage: [{ name: 'maquette.first-use', value: 'done' }] }],
    },
    viewport: { width: 1440, height: 1000 },
    trace: 'off',
    actionTimeout: 30_000,
    launchOptions: {
      ...(process.env.CHROME_PATH === undefined ? {} : { executablePath: process.env.CHROME_PATH }),
      args: [
        '--enable-unsafe-webgpu',
        '--use-webgpu-adapter=swiftshader',
        '--enable-features=Vulkan',
        '--disable-gpu-process-crash-limit',
        '--no-sandbox',
      ],
    },
  },
  webServer: {
    cwd: import.meta.dirname,
    command: `node node_modules/vite/bin/vite.js preview --port ${PORT} --strictPort`,
    url: `http://localhost:${PORT}`,
    reuseExistingServer: false,
  },
});
