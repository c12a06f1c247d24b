// LoRA trained by the app's own code in Node: the method's fit, on the real engine, and an adapter made of what it learned.
import type { OpenModel } from '../../src/cli/conformance/bench.ts';
import type { Example } from '../../src/data/types.ts';
import { LINEARS, linearShape } from '../../src/engine/weights.ts';
import type { ModelConfig, PortableAdapter, PortableLora } from '../../src/formats/types.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { composeMessages } from '../../src/methods/compose.ts';
import { lora } from '../../src/methods/lora.ts';
import type { FitEnv } from '../../src/methods/types.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import { metricById } from '../../src/metrics/registry.ts';
import { adapterOf } from '../../workers/engine/adapters.ts';
import { ZED } from './texts.ts';
import { rendererOf } from './world.ts';

export interface Trained {
  readonly adapter: PortableAdapter;
  readonly losses: readonly number[];
}

/** Trains on rows, without validation, and reads the factors back. */
export async function trainLora(model: OpenModel, rows: readonly Example[], raw: Readonly<Record<string, unknown>>): Promise<Trained> {
  const { engine, source } = model;
  const renderer = rendererOf(source);
  const config = lora.read(raw, engine.config);
  const losses: number[] = [];
  const env: FitEnv = {
    train: rows,
    validation: [],
    metric: metricById('exact-match'),
    seed: 7,
    prompt: emptyPrompt,
    encode: (example, prompt) => renderer.withAnswer(composeMessages(prompt, example.messages), example.targets[0] ?? ''),
    generate: () => Promise.reject(new Error('no prompt is pinned')),
    evaluate: () => Promise.reject(new Error('there are no validation rows')),
    engine,
    progress: () => undefined,
    report: (_step, name, value) => void (name === 'loss' && losses.push(value)),
    sample: () => undefined,
    best: () => undefined,
    note: () => undefined,
    pinned: [],
    checkpoint: () => Promise.resolve(),
    signal: new AbortController().signal,
  };
  const { patch } = await lora.fit(env, config);
  if (patch === undefined) throw new Error('LoRA made no patch.');
  try {
    const { rank, alpha, rsLora, dropout } = config;
    return { adapter: adapterOf(await engine.readPatch(patch), { rank, alpha, rsLora, dropout }), losses };
  } finally {
    engine.disposePatch(patch);
  }
}

const short = new Map<string, Promise<Trained>>();
/** One row learned in three steps at a large rate: enough to move every factor and to change what is said. Made once for each model of a run. */
export function trainShortly(model: OpenModel): Promise<Trained> {
  const settings = { rank: 4, alpha: 8, learningRate: 1e-2, epochs: 3, batch: 1, microBatch: 1, schedule: 'constant', warmup: 0 };
  const known = short.get(model.source.name) ?? trainLora(model, ZED.slice(0, 1), settings);
  short.set(model.source.name, known);
  return known;
}

/** Factors that are all random, B too, so that the adapter changes what the model says from the start. */
export function randomLora(
  model: ModelConfig,
  options: { readonly rank: number; readonly alpha: number; readonly rsLora: boolean; readonly targets?: readonly string[] },
): PortableAdapter {
  const { rank, alpha, rsLora, targets = LINEARS } = options;
  const random = seededRandom(20_261_125);
  const uniform = (n: number, bound: number): Float32Array => Float32Array.from({ length: n }, () => (2 * random.next() - 1) * bound);
  const modules: PortableLora[] = [];
  for (let layer = 0; layer < model.L; layer++) {
    for (const linear of LINEARS) {
      if (!targets.includes(linear)) continue;
      const [outFeatures, inFeatures] = linearShape(model, linear);
      const module = `model.layers.${layer}.${LINEARS.indexOf(linear) < 4 ? 'self_attn' : 'mlp'}.${linear}`;
      const A = uniform(rank * inFeatures, 1 / Math.sqrt(inFeatures));
      modules.push({ module, rank, alpha, A, B: uniform(outFeatures * rank, 0.05), inFeatures, outFeatures });
    }
  }
  return { kind: 'lora', rank, alpha, rsLora, dropout: 0, modules };
}
