import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type MatrixType, writeGgufModel } from '../../formats/gguf-model.ts';
import { SPACED_MARKS } from '../../formats/gguf-tokenizer.ts';
import { configFromHuggingFace } from '../../formats/hf-config.ts';
import { readSafetensors, tensorFloats } from '../../formats/safetensors.ts';
import { spacedTemplate } from '../../world/layout.ts';

const SMALL_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json'];

export interface BundleOptions {
  /** Where tokenizer.json and the other small files are. */
  readonly model: string;
  /** float32 weights by Hugging Face name. */
  readonly weights: string;
  readonly out: string;
  readonly name: string;
  readonly matrices: MatrixType;
  readonly description: string;
}

/** Writes NAME.gguf and the small files into a folder; gives the bytes of the GGUF. */
export function writeBundle({ model, weights, out, name, matrices, description }: BundleOptions): number {
  const read = (file: string) => JSON.parse(readFileSync(path.join(model, file), 'utf8'));
  const json: { model: { vocab: Record<string, number>; merges: string[] }; added_tokens: { id: number }[] } = read('tokenizer.json');
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(json.model.vocab)) tokens[id] = token;
  const { tensors } = readSafetensors(new Uint8Array(readFileSync(weights)), path.basename(weights));
  const bytes = writeGgufModel(
    {
      name,
      config: configFromHuggingFace(read('config.json'), read('generation_config.json')),
      vocabulary: { tokens, merges: json.model.merges, special: new Set(json.added_tokens.map(({ id }) => id)) },
      chatTemplate: read('tokenizer_config.json').chat_template,
      spacedTemplate: spacedTemplate(SPACED_MARKS),
      tensors: new Map([...tensors].map(([key, tensor]) => [key, tensorFloats(tensor)])),
      description,
    },
    matrices,
  );
  mkdirSync(out, { recursive: true });
  for (const file of SMALL_FILES) copyFileSync(path.join(model, file), path.join(out, file));
  writeFileSync(path.join(out, `${name}.gguf`), bytes);
  return bytes.length;
}
