// Builds the programs of src/cli where a source is newer than what is there, and starts one: node src/cli/run.mjs NAME [its arguments]
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { dawnEnvironment } from './environment.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const [name, ...args] = process.argv.slice(2);
const program = path.join(root, 'dist-cli', `${name}.mjs`);
if (!name || !existsSync(path.join(root, 'src/cli', `${name}.ts`))) {
  console.error(`There is no program src/cli/${name}.ts.`);
  process.exit(2);
}

const newest = (entry) => {
  const found = statSync(entry);
  return found.isDirectory() ? Math.max(0, ...readdirSync(entry).map((inside) => newest(path.join(entry, inside)))) : found.mtimeMs;
};
const sources = ['src', 'shaders', 'vite.config.ts', 'package.json'].map((entry) => path.join(root, entry));
if (!existsSync(program) || statSync(program).mtimeMs < Math.max(...sources.map(newest))) {
  const vite = path.join(root, 'node_modules/vite/bin/vite.js');
  const build = spawnSync(process.execPath, [vite, 'build', '--mode', 'cli', '--logLevel', 'warn'], {
    cwd: root,
    stdio: ['ignore', 2, 'inherit'],
  });
  if (build.status !== 0) process.exit(build.status ?? 1);
}
const run = spawnSync(process.execPath, [program, ...args], { stdio: 'inherit', env: dawnEnvironment() });
process.exit(run.status ?? 1);
