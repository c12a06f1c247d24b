import path from 'node:path';
import * as v from 'valibot';
import { referenceModel } from '../../engine/reference-model.ts';
import type { Engine, HostPart } from '../../engine/types.ts';
import { LINEARS, linearName, linearShape, planModel, weightShapes } from '../../engine/weights.ts';
import { seededRandom } from '../../lib/random.ts';
import { type Bench, continueGreedily, continueTogether } from './bench.ts';
import { type Case, differentIds, exact, GRADIENT_BASE, LOSS_BASE, type Measurement, type Outcome, worstDifference } from './case.ts';
import { filesOf, ids, readJson, readTensors, rowsOf, subfolders } from './folder.ts';
import { measureLogits, need } from './models.ts';

const Quantized = v.object({
  quantization_config: v.optional(v.object({ quant_method: v.optional(v.string()), bnb_4bit_quant_type: v.optional(v.string()) }), {}),
});

/** quant/ARCHITECTURE/FORMAT: a quantized model held as it is. Its dequantized tensors, its logits from them, and gradients through it against the
 *  reference network on the dequantized weights. */
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
  const mlc = names.includes('mlc-chat-config.json');
  if (gguf === undefined && !mlc) {
    if (names.includes('config.json')) {
      const { quantization_config: held } = readJson(path.join(full, 'config.json'), Quantized);
      return {
        skipped: `weights of ${held.quant_method ?? 'another program'} (${held.bnb_4bit_quant_type ?? 'unnamed type'}) are not read yet`,
      };
    }
    return { skipped: 'there is no GGUF file and no MLC model here, and no other format of quantized weights is read yet' };
  }
  const model = await bench.open(gguf === undefined ? folder : `${folder}/${gguf}`, 'as-is');
  const { engine, source } = model;
  const expected = readTensors(path.join(full, 'expected.safetensors'));
  const planned = planModel(engine.config, 'as-is', source.tensorInfos).weights;
  const measurements: Measurement[] = [exact('bytes of weights beyond the plan', Math.abs(engine.memory.weights - planned))];
  for (const [name, want] of expected) {
    if (!name.startsWith('dequant:')) continue;
    const { data } = await engine.readWeights(name.slice('dequant:'.length));
    const wrong = data.length === want.data.length ? data.filter((value, i) => value !== want.data[i]).length : Infinity;
    measurements.push(exact(`unequal numbers of ${name}`, wrong));
  }
  measurements.push(...(await measureLogits(model, expected)));
  const inputs = need(expected, 'input_ids');
  const [B, T] = rowsOf(inputs);
  measurements.push(...(await measureGradients(engine, ids(inputs), [B, T])));
  const prompt = ids(inputs).slice(0, Math.max(1, Math.floor(T / 2)));
  const alone = await continueGreedily(engine, prompt, 16, []);
  const [together] = await continueTogether(engine, [prompt, prompt.slice(0, 1)], 16, []);
  measurements.push(exact('greedy ids side by side', differentIds(together, alone)));
  return { measurements };
}

/** Loss and gradients of a seeded LoRA on all linears, every token to predict the next one. */
async function measureGradients(engine: Engine, tokens: Uint32Array, [B, T]: readonly [number, number]): Promise<Measurement[]> {
  const weights = new Map<string, { readonly shape: readonly number[]; readonly data: Float64Array }>();
  for (const [name, shape] of weightShapes(engine.config)) {
    weights.set(name, { shape, data: Float64Array.from((await engine.readWeights(name)).data) });
  }
  const parts = randomLora(engine, 4);
  const targets = Int32Array.from(tokens, (_, i) => (i % T === T - 1 ? -1 : tokens[i + 1]));
  const batch = { tokens, targets, shape: [B, T] as const };
  const count = B * (T - 1);
  const truth = referenceModel(engine.config, weights).lossAndGradients(batch, parts, count);
  const patch = engine.createPatch(parts, { trainable: true });
  engine.accumulate(batch, patch, count);
  const got = await engine.gradients(patch);
  const { loss } = await engine.update(patch, { lr: 0, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, clipNorm: 0 });
  engine.disposePatch(patch);
  let squares = 0;
  let worst = 0;
  for (const [name, gradient] of truth.gradients) {
    for (let i = 0; i < gradient.length; i++) squares += gradient[i] ** 2;
    worst = Math.max(worst, worstDifference(got.get(name) ?? [], gradient));
  }
  return [
    { what: 'loss through the quantized base', difference: Math.abs(loss - truth.loss), tolerance: LOSS_BASE * truth.loss },
    { what: 'gradients through the quantized base', difference: worst, tolerance: GRADIENT_BASE * Math.sqrt(squares) },
  ];
}
function randomLora({ config }: Engine, rank: number): HostPart[] {
  const random = seededRandom(1);
  const tensor = (name: string, shape: readonly [number, number]) => ({
    name,
    shape,
    data: Float32Array.from({ length: shape[0] * shape[1] }, () => (2 * random.next() - 1) / Math.sqrt(shape[1])),
  });
  return Array.from({ length: config.L }, (_, layer) =>
    LINEARS.map((linear): HostPart => {
      const [out, inputs] = linearShape(config, linear);
      const name = linearName(layer, linear);
      const [A, B] = [tensor(`${name} A`, [rank, inputs]), tensor(`${name} B`, [out, rank])];
      return { kind: 'low-rank', site: { layer, linear }, A, B, scale: 0.5 };
    }),
  ).flat();
}
