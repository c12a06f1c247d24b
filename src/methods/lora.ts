import { LINEARS, linearShape } from '../engine/linears.ts';
import type { HostPart, HostTensor, ModelConfig } from '../engine/types.ts';
import { hashText, seededRandom } from '../lib/random.ts';
import { paddedLength, type Schedule } from './batches.ts';
import { fitPatch, stepsOf, type TrainingConfig } from './fit-patch.ts';
import { linearParameters, parameters } from './model-size.ts';
import { type RawConfig, readBoolean, readChoices, readNumber, readText } from './settings.ts';
import { trainingSettings } from './training-settings.ts';
import type { DataSize, Method, TrainingSize } from './types.ts';

export interface LoraConfig extends TrainingConfig {
  readonly rank: number;
  readonly alpha: number;
  /** Share of the inputs of each low-rank part set to 0 while training. */
  readonly dropout: number;
  readonly targets: readonly string[];
  /** Scale alpha / sqrt(rank) in place of alpha / rank. Kalajdzievski 2023, arXiv:2312.03732. */
  readonly rsLora: boolean;
}

/** Models below this many weights want the larger rate (measured on ones of 0.5 M; every figure above is from models of a billion and more). */
const SMALL_MODEL = 50e6;

/** What B (A x) is multiplied by. Hu et al. 2021, arXiv:2106.09685, section 4.1; Kalajdzievski 2023, arXiv:2312.03732. */
export function loraScale({ rank, alpha, rsLora }: Pick<LoraConfig, 'rank' | 'alpha' | 'rsLora'>): number {
  return rsLora ? alpha / Math.sqrt(rank) : alpha / rank;
}

/** The factors before the first step: A uniform in +-1 / sqrt(in) (Kaiming's with a = sqrt(5), as PEFT), each tensor from its own stream of the seed, and
 *  B = 0, so that step 0 is Base. In the order of layers and linears, with PEFT's names. */
export function buildLora(config: Pick<LoraConfig, 'rank' | 'alpha' | 'rsLora' | 'targets'>, model: ModelConfig, seed: number): HostPart[] {
  const { rank } = config;
  const parts: HostPart[] = [];
  for (let layer = 0; layer < model.L; layer++) {
    for (const linear of LINEARS) {
      if (!config.targets.includes(linear)) continue;
      const [outFeatures, inFeatures] = linearShape(model, linear);
      const module = `base_model.model.model.layers.${layer}.${LINEARS.indexOf(linear) < 4 ? 'self_attn' : 'mlp'}.${linear}`;
      const name = `${module}.lora_A.weight`;
      const random = seededRandom((seed ^ hashText(name)) >>> 0);
      const bound = 1 / Math.sqrt(inFeatures);
      const A: HostTensor = {
        name,
        shape: [rank, inFeatures],
        data: Float32Array.from({ length: rank * inFeatures }, () => (2 * random.next() - 1) * bound),
      };
      const B: HostTensor = { name: `${module}.lora_B.weight`, shape: [outFeatures, rank], data: new Float32Array(outFeatures * rank) };
      parts.push({ kind: 'low-rank', site: { layer, linear }, A, B, scale: loraScale(config) });
    }
  }
  return parts;
}

/** Numbers that the factors hold. */
export function loraParameters(config: Pick<LoraConfig, 'rank' | 'targets'>, model: ModelConfig): number {
  let sum = 0;
  for (const linear of LINEARS) {
    const [outFeatures, inFeatures] = linearShape(model, linear);
    if (config.targets.includes(linear)) sum += model.L * config.rank * (inFeatures + outFeatures);
  }
  return sum;
}

const hu = { label: 'Hu et al. 2021', url: 'https://arxiv.org/abs/2106.09685' };
const withoutRegret = { label: 'Thinking Machines 2025, LoRA Without Regret' };
const NAMES: Readonly<Record<string, string>> = {
  q_proj: 'Attention: queries (q_proj)',
  k_proj: 'Attention: keys (k_proj)',
  v_proj: 'Attention: values (v_proj)',
  o_proj: 'Attention: output (o_proj)',
  gate_proj: 'MLP: gate (gate_proj)',
  up_proj: 'MLP: up (up_proj)',
  down_proj: 'MLP: down (down_proj)',
};

const settings: Method<LoraConfig>['settings'] = {
  ...trainingSettings(2e-4),
  rank: {
    kind: 'number',
    label: 'How big',
    term: 'rank',
    help: 'Room for what is learned. Small data gains nothing from more; the file grows with it.',
    default: 16,
    min: 1,
    max: 256,
    step: 1,
    scale: 'log',
    source: withoutRegret,
  },
  alpha: {
    kind: 'number',
    label: 'Weight of the add-on',
    term: 'alpha',
    help: 'The add-on is multiplied by alpha / rank. Twice the rank is usual.',
    default: 32,
    min: 1,
    max: 512,
    advanced: true,
    source: withoutRegret,
  },
  dropout: {
    kind: 'number',
    label: 'Inputs left out at random',
    term: 'dropout',
    help: 'Against learning a few rows by heart. 0 is none.',
    default: 0,
    min: 0,
    max: 0.9,
    step: 0.05,
    advanced: true,
    source: hu,
  },
  targets: {
    kind: 'choices',
    label: 'Where it is added',
    term: 'target modules',
    help: 'All seven is best on most tasks; attention alone makes a smaller file.',
    default: LINEARS,
    options: LINEARS.map((value) => ({ value, label: NAMES[value] })),
    advanced: true,
    source: withoutRegret,
  },
  rsLora: {
    kind: 'boolean',
    label: 'Keep its weight at large ranks',
    term: 'rsLoRA',
    help: 'Multiplies by alpha / √rank. Worth it from rank 64 on.',
    default: false,
    advanced: true,
    source: { label: 'Kalajdzievski 2023', url: 'https://arxiv.org/abs/2312.03732' },
  },
};

function read(raw: RawConfig, model: ModelConfig): LoraConfig {
  const number = (key: keyof LoraConfig, setting: Parameters<typeof readNumber>[2]): number =>
    readNumber(raw, key, setting, key === 'learningRate' ? defaultRate(model) : setting.default);
  return {
    learningRate: number('learningRate', settings.learningRate),
    schedule: scheduleOf(readText(raw, 'schedule', settings.schedule)),
    warmup: number('warmup', settings.warmup),
    epochs: number('epochs', settings.epochs),
    batch: number('batch', settings.batch),
    microBatch: number('microBatch', settings.microBatch),
    recompute: readBoolean(raw, 'recompute', settings.recompute),
    weightDecay: number('weightDecay', settings.weightDecay),
    clipNorm: number('clipNorm', settings.clipNorm),
    validations: number('validations', settings.validations),
    patience: number('patience', settings.patience),
    rank: number('rank', settings.rank),
    alpha: number('alpha', settings.alpha),
    dropout: number('dropout', settings.dropout),
    targets: readChoices(raw, 'targets', settings.targets),
    rsLora: readBoolean(raw, 'rsLora', settings.rsLora),
  };
}

function scheduleOf(text: string): Schedule {
  return text === 'constant' || text === 'linear' ? text : 'cosine';
}

function defaultRate(model: ModelConfig): number {
  return parameters(model) < SMALL_MODEL ? 5e-3 : 2e-4;
}

function training(config: LoraConfig, model: ModelConfig, data: DataSize): TrainingSize {
  return {
    steps: stepsOf(config, data.rows),
    shape: [
      Math.min(config.microBatch, config.batch, Math.max(1, data.rows)),
      paddedLength(Math.max(1, data.longestRow - 1), model.context),
    ],
    trainedValues: loraParameters(config, model),
    recompute: config.recompute,
  };
}

/** Padding, validations and the work between steps, on top of the arithmetic of the steps. */
const OVERHEAD = 1.25;

/** FLOP a token: 4 P_linear + 4 P_head (where a token is trained) + 6 P_lora + 3.5 of attention's products; bytes: w, g, m, v in f32 and the saved
 *  activations of one micro-batch. Recomputed layers are worked out once more, and only their inputs and one layer's activations are saved. */
function estimate(
  config: LoraConfig,
  model: ModelConfig,
  data: DataSize,
  device: { readonly flopsPerSecond: number },
): { seconds: number; bytes: number } {
  const { C, L, NH, NKV, HS, F, V } = model;
  const { shape, trainedValues } = training(config, model, data);
  const [B, T] = shape;
  const share = data.tokens > 0 ? data.trainedTokens / data.tokens : 1;
  const mean = data.rows > 0 ? data.tokens / data.rows : 0;
  const attention = 2 * mean * NH * HS * L;
  const again = config.recompute ? 2 * linearParameters(model) + 2 * trainedValues + attention : 0;
  const flops = 4 * linearParameters(model) + 4 * V * C * share + 6 * trainedValues + 3.5 * attention + again;
  const saved = 4 * C + 2 * NH * HS + 2 * NKV * HS + 3 * F + NH + 7 * config.rank;
  return {
    seconds: (OVERHEAD * config.epochs * data.tokens * flops) / device.flopsPerSecond,
    bytes: 16 * trainedValues + 4 * B * T * (config.recompute ? L * C + saved : L * saved),
  };
}

export const lora: Method<LoraConfig> = {
  id: 'lora',
  name: 'LoRA',
  plainName: 'Small add-on weights',
  mark: 'lora',
  source: hu,
  summary:
    'Trains small matrices beside the frozen model. Choose it when you have some dozens of examples and words alone do not get there; the file is small and can be taken off again.',
  needs: ['train', 'score', 'generate'],
  settings,
  read,
  defaultsFor: (model) => ({ learningRate: defaultRate(model) }),
  training,
  estimate,
  async fit(env, config) {
    const { engine } = env;
    const parts = engine === undefined ? [] : buildLora(config, engine.config, env.seed);
    return { prompt: env.prompt, patch: await fitPatch(env, { parts, dropout: config.dropout }, config) };
  },
};
