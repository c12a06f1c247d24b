// `npm run soak`: load, train 3 steps, unload, 20 times over, in Dawn in Node and in the built site; GPU bytes and heaps must come back to where they were.
import { spawnSync } from 'node:child_process';
import { dawnEnvironment, findOrInstallBrowser } from './environment.mjs';

const env = { ...dawnEnvironment(), CHROME_PATH: findOrInstallBrowser(), MAQUETTE_CYCLES: process.argv[2] ?? '20' };
const node = (args) => spawnSync(process.execPath, args, { stdio: 'inherit', env }).status ?? 1;
const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--disable-console-intercept', 'tests/engine/leak.test.ts'];
const failed =
  node(vitest) || node(['node_modules/vite/bin/vite.js', 'build']) || node(['node_modules/@playwright/test/cli.js', 'test', 'leak']);
process.exit(failed);
