// `npm run bench:peers`: our LoRA step beside other in-browser trainers, each in a browser of its own. Installs tests/peers where it is missing, builds the
// pages and runs: node src/cli/bench-peers.mjs [--rounds N] [--configs A,B] [--with-ceiling] [what else tests/peers/README.md names]
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { findOrInstallBrowser } from './environment.mjs';

const folder = path.resolve(import.meta.dirname, '../../tests/peers');
const { dependencies } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
const isInstalled = ([name, version]) => {
  const file = path.join(folder, 'node_modules', name, 'package.json');
  return existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).version === version;
};
const run = (command, args, options = {}) => {
  const { status } = spawnSync(command, args, { cwd: folder, stdio: 'inherit', ...options });
  if (status !== 0) process.exit(status ?? 1);
};

if (!Object.entries(dependencies).every(isInstalled)) {
  console.log('Installing the other trainers in tests/peers, about 350 MB.');
  const windows = process.platform === 'win32';
  run(windows ? 'npm.cmd' : 'npm', ['ci', '--ignore-scripts', '--no-fund', '--no-audit', '--loglevel=error'], { shell: windows });
}
run(process.execPath, ['build.mjs']);
run(process.execPath, ['run.mjs', ...process.argv.slice(2)], {
  env: { ...process.env, CHROME: process.env.CHROME ?? findOrInstallBrowser() },
});
