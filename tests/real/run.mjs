// npm run test:real [-- --only ids,numbers,quantized,peft,llama,site]: real programs and a real model. Prints a line a check; what cannot be had here is skipped
// with its reason. Everything it needs is made in .real/, once; MAQUETTE_REAL_PYTHON (a Python that has requirements.txt) and MAQUETTE_REAL_GGUF (the
// SmolLM2 file) take its place where they are set.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { dawnEnvironment, findOrInstallBrowser } from '../../src/cli/environment.mjs';
import { haveGguf, haveLlama, havePython } from './setup.mjs';

const root = path.resolve(import.meta.dirname, '../..');
process.chdir(root);
const PARTS = ['ids', 'numbers', 'quantized', 'peft', 'llama', 'site'];
const only = process.argv.includes('--only') ? (process.argv[process.argv.indexOf('--only') + 1] ?? '').split(',') : PARTS;
const unknown = only.filter((part) => !PARTS.includes(part));
if (unknown.length > 0) {
  console.error(`There is no part ${unknown.join(', ')}: ${PARTS.join(', ')}.`);
  process.exit(2);
}
const wanted = (...parts) => parts.some((part) => only.includes(part));
const unwanted = { missing: 'Not asked for.' };
const work = path.resolve(process.env.MAQUETTE_REAL_WORK ?? '.real/work');
mkdirSync(work, { recursive: true });
const started = Date.now();
const counts = { PASS: 0, FAIL: 0, SKIP: 0 };
const say = (line) => {
  const verdict = / {2}(PASS|FAIL|SKIP)( {2}|$)/.exec(line)?.[1];
  if (verdict) counts[verdict]++;
  console.log(line);
};

const python = wanted('numbers', 'peft', 'site') ? havePython() : unwanted;
const gguf = haveGguf();
const llama = wanted('ids', 'llama') ? haveLlama() : unwanted;
for (const [what, { missing }] of Object.entries({ 'Python packages': python, SmolLM2: gguf, 'llama.cpp': llama })) {
  if (missing && missing !== unwanted.missing) console.log(`SKIP what needs ${what}: ${missing}`);
}

const vite = (mode, env) =>
  spawnSync(process.execPath, ['node_modules/vite/bin/vite.js', 'build', ...mode, '--logLevel', 'error'], {
    stdio: ['ignore', 2, 'inherit'],
    env,
  }).status === 0;

const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** The main job in the browser. Its files are in `work` afterwards. */
async function site() {
  const missing = gguf.missing ?? python.missing;
  if (missing) return { missing };
  const name = 'site/main job in the browser';
  let browser;
  try {
    browser = findOrInstallBrowser();
  } catch (error) {
    return { missing: error.message };
  }
  const env = {
    ...process.env,
    CHROME_PATH: browser,
    MAQUETTE_OUT: path.join(work, '../site'),
    MAQUETTE_PORT: process.env.MAQUETTE_PORT ?? String(await freePort()),
    MAQUETTE_REAL_GGUF: gguf.path,
    MAQUETTE_REAL_WORK: work,
  };
  for (const file of ['site.json', 'site.zip']) rmSync(path.join(work, file), { force: true });
  const began = Date.now();
  const cli = ['node_modules/@playwright/test/cli.js', 'test', '--config', 'tests/real/playwright.config.ts'];
  const ok = vite([], env) && spawnSync(process.execPath, cli, { stdio: ['ignore', 2, 'inherit'], env }).status === 0;
  const left = existsSync(path.join(work, 'site.json')) && existsSync(path.join(work, 'site.zip'));
  say(`${name}  ${ok ? 0 : 1}  0  ${ok ? 'PASS' : 'FAIL'}  in ${Math.round((Date.now() - began) / 1000)} s`);
  return ok || left ? { path: work } : { missing: 'The main job did not reach its end.' };
}
const setup = { parts: only, work, python, gguf, llama, site: wanted('site') ? await site() : unwanted };
if (wanted('site') && setup.site.missing && !counts.FAIL) say(`site/main job in the browser  -  -  SKIP  ${setup.site.missing}`);

if (!vite(['--mode', 'real'], process.env)) process.exit(1);
const env = { ...dawnEnvironment(), MAQUETTE_REAL_SETUP: JSON.stringify(setup) };
const checks = spawn(process.execPath, ['dist-real/checks.mjs'], { stdio: ['ignore', 'pipe', 'inherit'], env });
let rest = '';
checks.stdout.setEncoding('utf8');
checks.stdout.on('data', (chunk) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop() ?? '';
  for (const line of lines) say(line);
});
const status = await new Promise((resolve) => checks.on('close', resolve));
if (rest !== '') say(rest);
if (status !== 0) say(`the checks ended early with ${status}  -  -  FAIL`);
console.log(`\nTook ${Math.round((Date.now() - started) / 1000)} s.`);
console.log(`${counts.PASS} passed, ${counts.FAIL} failed, ${counts.SKIP} skipped`);
process.exit(counts.FAIL === 0 ? 0 : 1);
