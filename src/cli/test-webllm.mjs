// `npm run test:webllm [-- ROWS]`: every test of web-llm in the built site, with 40 rows of the samples (or ROWS) answered by both runtimes in place of 8,
// and what `npm test` leaves out.
import { spawnSync } from 'node:child_process';
import { dawnEnvironment, findOrInstallBrowser } from './environment.mjs';

const env = {
  ...dawnEnvironment(),
  CHROME_PATH: findOrInstallBrowser(),
  MAQUETTE_WEBLLM_ROWS: process.argv[2] ?? '40',
  MAQUETTE_LONG: 'yes',
};
const node = (args) => spawnSync(process.execPath, args, { stdio: 'inherit', env }).status ?? 1;
process.exit(node(['node_modules/vite/bin/vite.js', 'build']) || node(['node_modules/@playwright/test/cli.js', 'test', 'webllm']));
