// `npm run soak`: load, train 3 steps, unload, 20 times over, in Dawn in Node and in the built site; GPU bytes and heaps must come back to where they were. So
// do the GPU bytes of web-llm, over 5 rounds of loads that fail or are stopped and whole ones.
import { spawnSync } from 'node:child_process';
import { dawnEnvironment, findOrInstallBrowser } from './environment.mjs';

const env = { ...dawnEnvironment(), CHROME_PATH: findOrInstallBrowser(), MAQUETTE_CYCLES: process.argv[2] ?? '20' };
const node = (args, of = env) => spawnSync(process.execPath, args, { stdio: 'inherit', env: of }).status ?? 1;
const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--disable-console-intercept', 'tests/engine/leak.test.ts'];
const failed =
  node(vitest) ||
  node(['node_modules/vite/bin/vite.js', 'build']) ||
  node(['node_modules/@playwright/test/cli.js', 'test', 'leak']) ||
  node(['node_modules/@playwright/test/cli.js', 'test', 'webllm-trouble'], { ...env, MAQUETTE_CYCLES: '5' });
process.exit(failed);
