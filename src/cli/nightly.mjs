// `npm run nightly [-- --only libraries,long,soak]`: what takes too long for `npm test`, a line each, and the output of each in test-results/nightly. The committed
// libraries are built anew and must answer as they do; their bytes may differ, with paths and versions. Needs what `npm run webllm:library` needs.
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { dawnEnvironment, findOrInstallBrowser } from './environment.mjs';

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const root = path.resolve(import.meta.dirname, '../..');
const logs = path.join(root, 'test-results/nightly');
const built = path.join(logs, 'libraries');
mkdirSync(built, { recursive: true });

/** Runs a program, its output into the log. */
function run(log, program, args, more = {}) {
  const env = { ...process.env, ...more };
  return spawnSync(program, args, { cwd: root, stdio: ['ignore', log, log], env }).status === 0;
}
const npm = (script, ...args) => [
  process.platform === 'win32' ? 'npm.cmd' : 'npm',
  ['run', script, ...(args.length > 0 ? ['--', ...args] : [])],
];

/** Where the committed libraries lie, and the folder of the model that each was built for. */
const LIBRARIES = [
  ['tests/webllm/libraries/llama-q0f32', 'tests/fixtures/models/llama'],
  ['tests/webllm/libraries/llama-q4f32_1', 'tests/fixtures/models/llama'],
  ['tests/webllm/libraries/stories260k-q0f32', '../shared/fixtures/stories260k'],
  ['public/models/vale-micro/webllm/vale-micro-q0f32-software', 'public/models/vale-micro'],
  ['public/models/vale-micro/webllm/vale-micro-q0f32-gpu', 'public/models/vale-micro'],
];
function libraries(log) {
  for (const [library, model] of LIBRARIES) {
    if (!existsSync(path.join(root, model, 'config.json'))) continue; // told by the comparison, which skips it
    const said = JSON.parse(readFileSync(path.join(root, `${library}.wasm.json`), 'utf8'));
    const out = path.join(built, `${path.basename(library)}.wasm`);
    const options = ['--quantization', said.quantization, '--schedule', said.schedule, '--chunk', String(said.chunk), '--gzip'];
    if (!run(log, ...npm('webllm:library', model, out, ...options))) return false;
  }
  const env = { ...dawnEnvironment(), CHROME_PATH: findOrInstallBrowser(), MAQUETTE_REBUILT: built };
  return run(
    log,
    process.execPath,
    ['node_modules/@playwright/test/cli.js', 'test', '--config', 'tests/webllm/playwright.config.ts', 'rebuilt'],
    env,
  );
}
const script =
  (...words) =>
  (log) =>
    run(log, ...npm(...words));
/** Browser tests that `npm test` leaves out; those of web-llm come with its own part. */
function long(log) {
  const env = { ...dawnEnvironment(), CHROME_PATH: findOrInstallBrowser(), MAQUETTE_LONG: 'yes' };
  const playwright = ['node_modules/@playwright/test/cli.js', 'test', 'first-use', 'own-files', '--grep', '@long'];
  return run(log, process.execPath, ['node_modules/vite/bin/vite.js', 'build'], env) && run(log, process.execPath, playwright, env);
}
const PARTS = {
  libraries,
  long,
  soak: script('soak'),
  'test:webllm': script('test:webllm'),
  acceptance: script('acceptance', '--items', '40'),
  ...(existsSync(path.join(root, '../shared/fixtures')) ? { conformance: script('conformance', '../shared/fixtures') } : {}),
};

const wanted = values.only?.split(',') ?? Object.keys(PARTS);
const unknown = wanted.find((name) => !(name in PARTS));
if (unknown !== undefined) {
  console.error(`There is no ${unknown} among ${Object.keys(PARTS).join(', ')}.`);
  process.exit(2);
}
let failed = 0;
for (const [name, part] of Object.entries(PARTS)) {
  if (!wanted.includes(name)) continue;
  const file = path.join(logs, `${name.replace(':', '-')}.log`);
  const log = openSync(file, 'w');
  const started = Date.now();
  const ok = part(log);
  closeSync(log);
  if (!ok) failed++;
  console.log(
    `${ok ? 'PASS' : 'FAIL'}  ${name}  ${Math.round((Date.now() - started) / 1000)} s${ok ? '' : `  ${path.relative(root, file)}`}`,
  );
}
console.log(failed === 0 ? 'nightly: all passed' : `nightly: ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
