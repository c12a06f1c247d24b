import path from 'node:path';
import * as v from 'valibot';
import type { Bench } from './bench.ts';
import { type Case, exact, type Measurement, type Outcome } from './case.ts';
import { filesOf, readJson, readTensors, subfolders } from './folder.ts';
import { measureLogits } from './models.ts';

const Quantized = v.object({
  quantization_config: v.optional(v.object({ quant_method: v.optional(v.string()), bnb_4bit_quant_type: v.optional(v.string()) }), {}),
});

/** quant/ARCHITECTURE/FORMAT: a quantized model's dequantized tensors, and its logits from them. */
export function quantCases(bench: Bench): Case[] {
  return subfolders(path.join(bench.root, 'quant')).flatMap((architecture) =>
    subfolders(path.join(bench.root, 'quant', architecture)).map((format) => {
      const folder = `quant/${architecture}/${format}`;
      return { path: folder, run: () => runQuant(bench, folder) };
    }),
  );
}

async function runQuant(bench: Bench, folder: string): Promise<Outcome> {
  const full = path.join(bench.root, folder);
  const names = filesOf(full);
  const gguf = names.find((name) => name.endsWith('.gguf'));
  if (gguf === undefined) {
    if (names.includes('mlc-chat-config.json')) return { skipped: 'MLC shards are not read yet' };
    if (names.includes('config.json')) {
      const { quantization_config: held } = readJson(path.join(full, 'config.json'), Quantized);
      return {
        skipped: `weights of ${held.quant_method ?? 'another program'} (${held.bnb_4bit_quant_type ?? 'unnamed type'}) are not read yet`,
      };
    }
    return { skipped: 'there is no GGUF file here, and no other format of quantized weights is read yet' };
  }
  const model = await bench.open(`${folder}/${gguf}`, 'f32');
  const expected = readTensors(path.join(full, 'expected.safetensors'));
  const measurements: Measurement[] = [];
  for (const [name, want] of expected) {
    if (!name.startsWith('dequant:')) continue;
    const { data } = await model.engine.readWeights(name.slice('dequant:'.length));
    const wrong = data.length === want.data.length ? data.filter((value, i) => value !== want.data[i]).length : Infinity;
    measurements.push(exact(`unequal numbers of ${name}`, wrong));
  }
  measurements.push(...(await measureLogits(model, expected)));
  return { measurements };
}
