// `npm run bench:webllm -- [--build] [--only vale-micro,q4f32_1] [--rounds 4] [--seconds 60]`: decoding in our engine against web-llm, on the same f32 and 4-bit weights of the
// site's model and of SmolLM2-135M's shape (random numbers), in turn, in a browser. Sampling is not in web-llm's times; ours have taking the largest logit in
// them. Libraries that are not in public/ are read from MAQUETTE_WEBLLM_CACHE/bench (~/.cache/maquette-webllm/bench); `--build` builds those that are missing,
// half a minute each after the first (Python and emscripten: src/cli/python/README.md). About `--seconds` are spent on each library besides loading: where a
// token takes seconds, fewer are decoded, and the line says so; a library that takes more than five minutes to load is left out by name. The last line is the summary.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { dawnEnvironment, findOrInstallBrowser } from './environment.mjs';

const { values } = parseArgs({
  options: {
    build: { type: 'boolean' },
    only: { type: 'string' },
    rounds: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '60' },
  },
});
const root = path.resolve(import.meta.dirname, '../..');
const cache = process.env.MAQUETTE_WEBLLM_CACHE ?? path.join(os.homedir(), '.cache/maquette-webllm');
const folder = path.join(cache, 'bench');

/** The sizes of SmolLM2-135M: 135 million weights. */
const SMOLLM = {
  ...{
    model_type: 'llama',
    hidden_act: 'silu',
    hidden_size: 576,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    head_dim: 64,
  },
  ...{
    intermediate_size: 1536,
    vocab_size: 49152,
    max_position_embeddings: 2048,
    rope_theta: 100000,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
  },
};

function build() {
  const smollm = path.join(folder, 'smollm2-135m');
  mkdirSync(smollm, { recursive: true });
  writeFileSync(path.join(smollm, 'config.json'), JSON.stringify(SMOLLM));
  const models = { 'vale-micro': path.join(root, 'public/models/vale-micro'), 'smollm2-135m': smollm };
  for (const [name, model] of Object.entries(models)) {
    for (const quantization of ['q0f32', 'q4f32_1']) {
      for (const schedule of ['software', 'gpu']) {
        const file = `${name}-${quantization}-${schedule}.wasm`;
        if ([folder, path.join(model, 'webllm')].some((place) => existsSync(path.join(place, `${file}.gz`)))) continue;
        if (values.only !== undefined && !values.only.split(',').some((wanted) => `${name} ${quantization}`.includes(wanted))) continue;
        const options = ['--quantization', quantization, '--schedule', schedule, '--gzip'];
        const made = spawnSync(
          'python3',
          [path.join(root, 'src/cli/python/webllm_library.py'), model, path.join(folder, file), ...options],
          {
            stdio: 'inherit',
          },
        );
        if (made.status !== 0) process.exit(made.status ?? 1);
      }
    }
  }
}
if (values.build) build();
const env = {
  ...dawnEnvironment(),
  CHROME_PATH: findOrInstallBrowser(),
  MAQUETTE_BENCH_LIBRARIES: folder,
  MAQUETTE_BENCH_ROUNDS: values.rounds,
  MAQUETTE_BENCH_SECONDS: values.seconds,
  ...(values.only === undefined ? {} : { MAQUETTE_BENCH_ONLY: values.only }),
};
const playwright = path.join(root, 'node_modules/@playwright/test/cli.js');
const args = [playwright, 'test', '--config', 'tests/webllm/playwright.config.ts', 'bench'];
const run = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], env });
/** What was measured in one line, which the test runner's own last words would bury. */
let summary = 'nothing was measured';
let left = '';
run.stdout.on('data', (chunk) => {
  process.stdout.write(chunk);
  const lines = (left + chunk).split('\n');
  left = lines.pop() ?? '';
  summary = lines.find((line) => line.startsWith('ours / web-llm')) ?? summary;
});
run.on('close', (status) => {
  console.log(summary);
  process.exit(status ?? 1);
});
