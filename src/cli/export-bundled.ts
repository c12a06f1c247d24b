// node src/cli/run.mjs export-bundled --training DIR [--weights FILE] [--python PYTHON] [--final] [--history TEXT] [--out DIR] [--items N] [--only 1,3]
// [--scores N]
// One command from a training run to the files that the site ships: the newest weights of the run in DIR (or those of a snapshot, FILE) as a GGUF file,
// config.json, tokenizer.json, tokenizer_config.json and generation_config.json beside it, the trainer's own float32 answers (float32-scores.json), and the
// card (card.json, README.md) with the table of `npm run acceptance`. Without --final the card says that the weights are interim; --history is what it
// says of changes under way and of how the weights were chosen. --items 0 leaves the table out, --only all rows but those. The training may go on meanwhile.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openGpu } from '../engine/gpu.ts';
import { configFromHuggingFace } from '../formats/hf-config.ts';
import { expectedTensors } from '../formats/llama-tensors.ts';
import { readSafetensors } from '../formats/safetensors.ts';
import { openBench } from './acceptance/bench.ts';
import { formatRow } from './acceptance/row.ts';
import { COMPARED } from './acceptance/rows.ts';
import { DEFAULT_ITEMS, DEFAULT_SEED, lastLine, measure, parseScores, readScores, SCORES_FILE } from './acceptance/table.ts';
import { dawn } from './node/dawn.ts';
import { writeBundle } from './world/bundle.ts';
import { CARD_FILE, type Card, modelCard, recipeHash } from './world/card.ts';

const { values } = parseArgs({
  options: {
    training: { type: 'string' },
    weights: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    final: { type: 'boolean', default: false },
    history: { type: 'string' },
    name: { type: 'string', default: 'vale-micro' },
    out: { type: 'string' },
    matrices: { type: 'string', default: 'q8_0' },
    model: { type: 'string', default: 'src/cli/world/model' },
    items: { type: 'string', default: String(DEFAULT_ITEMS) },
    only: { type: 'string' },
    scores: { type: 'string', default: '1000' },
  },
});
const { training, matrices, name } = values;
const folder = (of: string | undefined): of is string =>
  of !== undefined && statSync(of, { throwIfNoEntry: false })?.isDirectory() === true;
if (!folder(training) || !(matrices === 'q8_0' || matrices === 'f16' || matrices === 'f32')) {
  console.error(
    'export-bundled --training DIR [--weights FILE.safetensors] [--python PYTHON] [--final] [--out DIR] [--items N] [--scores N]',
  );
  process.exit(2);
}
const out = values.out ?? path.join('public/models', name);
const work = mkdtempSync(path.join(tmpdir(), 'export-bundled-'));

/** What the trainer prints. @throws where it fails */
function trainer(...args: readonly string[]): string {
  const generator = `node "${path.join(import.meta.dirname, 'train-bundled.mjs')}" --tokenizer "${path.resolve(values.model)}"`;
  const script = ['src/cli/python/train_bundled.py', '--folder', path.resolve(training ?? ''), '--generator', generator];
  const run = spawnSync(values.python, [...script, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1e8 });
  if (run.status !== 0) throw new Error(`${values.python} train_bundled.py ended with ${run.status ?? run.error?.message ?? 'a signal'}.`);
  return run.stdout;
}

const started = performance.now();
const note = (text: string): void => console.error(`${((performance.now() - started) / 1000).toFixed(0)} s: ${text}`);
try {
  const weights = values.weights ?? path.join(work, 'weights.safetensors');
  if (values.weights === undefined) note(trainer('--export', weights).trim());
  const { metadata } = readSafetensors(new Uint8Array(readFileSync(weights)), path.basename(weights));
  const million = /^(\d+)M\.safetensors$/.exec(path.basename(weights));
  const tokens = Number(metadata.get('tokens') ?? Number(million?.[1] ?? 0) * 1e6);

  const description = 'A small model of its own small world, the Vale, made by the Maquette project from generated texts. MIT licence.';
  const bytes = writeBundle({ model: path.resolve(values.model), weights, out, name, matrices, description });
  note(`${path.join(out, `${name}.gguf`)}: ${(bytes / 1e6).toFixed(2)} MB`);

  const asked = ['--weights', path.resolve(weights), '--scores', values.scores, '--scores-seed', String(DEFAULT_SEED)];
  const scores = parseScores(trainer(...asked));
  // Question by question only where the table compares: the file stays small.
  const right = Object.fromEntries(COMPARED.map((exam) => [exam, scores.right[exam]]));
  writeFileSync(path.join(out, SCORES_FILE), `${JSON.stringify({ ...scores, tokens, right }, null, 1)}\n`);
  note(`float32 scores of ${scores.items} questions an exam`);

  const items = Number(values.items);
  const read = (file: string): unknown => JSON.parse(readFileSync(path.join(values.model, file), 'utf8'));
  const config = configFromHuggingFace(read('config.json'), read('generation_config.json'));
  const card: Card = {
    ...{ name, file: `${name}.gguf`, licence: 'MIT', interim: !values.final, bytes, matrices },
    parameters: expectedTensors(config).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
    training: { seed: Number(metadata.get('seed') ?? 1), tokens, recipe: recipeHash(process.cwd()), history: values.history },
  };
  const write = (of: Card): void => {
    writeFileSync(path.join(out, CARD_FILE), `${JSON.stringify(of, null, 1)}\n`);
    writeFileSync(path.join(out, 'README.md'), modelCard(of));
  };
  write(card);
  if (items > 0) {
    const gpu = await openGpu(dawn());
    const bench = await openBench(gpu, path.resolve(out), DEFAULT_SEED, items);
    const rows = await measure(bench, {
      scores: readScores(out),
      only: values.only?.split(','),
      onRows: (some) => console.log(some.map(formatRow).join('\n')),
    });
    bench.dispose();
    gpu.device.destroy();
    console.log(lastLine(rows));
    write({ ...card, acceptance: { seed: DEFAULT_SEED, items, rows } });
  }
  note('done');
} finally {
  rmSync(work, { recursive: true, force: true });
}
process.exit(0);
