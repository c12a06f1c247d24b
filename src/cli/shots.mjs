// `npm run shots`: builds the site and leaves a picture of every screen and state in shots/ (light and dark; 320, 768 and 1440 px wide), with axe over each.
// `npm run shots -- first-visit` runs one spec; with MAQUETTE_SHOTS='^chat' only pictures whose name matches are taken.
import { spawnSync } from 'node:child_process';
import { dawnEnvironment, findOrInstallBrowser } from './environment.mjs';

const env = { ...dawnEnvironment(), CHROME_PATH: findOrInstallBrowser(), MAQUETTE_SHOTS: process.env.MAQUETTE_SHOTS ?? '' };
const node = (args) => spawnSync(process.execPath, args, { stdio: 'inherit', env }).status ?? 1;
const built = node(['node_modules/vite/bin/vite.js', 'build']);
process.exit(
  built === 0
    ? node(['node_modules/@playwright/test/cli.js', 'test', '--config', 'tests/shots/playwright.config.ts', ...process.argv.slice(2)])
    : built,
);
