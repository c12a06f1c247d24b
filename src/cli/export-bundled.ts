// node src/cli/run.mjs export-bundled WEIGHTS.safetensors OUT [--name NAME] [--matrices q8_0|f16|f32]: the trainer's float32 weights as a GGUF file with
// config.json, tokenizer.json, tokenizer_config.json, generation_config.json and a model card (README.md) beside it. The card names --seed and --tokens of
// the training, and holds the table that acceptance printed into the file --acceptance.
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { configFromHuggingFace } from '../formats/hf-config.ts';
import { expectedTensors } from '../formats/llama-tensors.ts';
import { writeBundle } from './world/bundle.ts';
import { modelCard, recipeHash } from './world/card.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    name: { type: 'string', default: 'vale-micro' },
    matrices: { type: 'string', default: 'q8_0' },
    model: { type: 'string', default: 'src/cli/world/model' },
    seed: { type: 'string', default: '1' },
    tokens: { type: 'string', default: '0' },
    acceptance: { type: 'string' },
  },
});
const [weights, out] = positionals;
const { matrices } = values;
if (
  weights === undefined ||
  out === undefined ||
  !statSync(weights, { throwIfNoEntry: false }) ||
  !(matrices === 'q8_0' || matrices === 'f16' || matrices === 'f32')
) {
  console.error('export-bundled WEIGHTS.safetensors OUT [--name NAME] [--matrices q8_0|f16|f32]');
  process.exit(2);
}
const description = 'A small model of its own small world, the Vale, made by the Maquette project from generated texts. MIT licence.';
const bytes = writeBundle({ model: path.resolve(values.model), weights, out, name: values.name, matrices, description });
const read = (file: string): unknown => JSON.parse(readFileSync(path.join(values.model, file), 'utf8'));
const config = configFromHuggingFace(read('config.json'), read('generation_config.json'));
const card = modelCard({
  name: values.name,
  parameters: expectedTensors(config).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
  megabytes: bytes / 1e6,
  matrices,
  seed: Number(values.seed),
  tokens: Number(values.tokens),
  recipe: recipeHash(process.cwd()),
  acceptance: values.acceptance === undefined ? '' : readFileSync(values.acceptance, 'utf8'),
});
writeFileSync(path.join(out, 'README.md'), card);
console.log(`${path.join(out, `${values.name}.gguf`)}: ${(bytes / 1e6).toFixed(2)} MB`);
