// node src/cli/run.mjs export-bundled WEIGHTS.safetensors OUT [--name NAME] [--matrices q8_0|f16|f32]: the trainer's float32 weights as a GGUF file with
// config.json, tokenizer.json, tokenizer_config.json and generation_config.json beside it.
import { statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { writeBundle } from './world/bundle.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    name: { type: 'string', default: 'vale-micro' },
    matrices: { type: 'string', default: 'q8_0' },
    model: { type: 'string', default: 'src/cli/world/model' },
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
console.log(`${path.join(out, `${values.name}.gguf`)}: ${(bytes / 1e6).toFixed(2)} MB`);
