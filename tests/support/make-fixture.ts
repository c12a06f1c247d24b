// A fixture folder of any sizes, made by the float64 reference: a model with random weights, its expected logits and greedy ids, and a LoRA run on it.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { adamwStep, clipCoefficient, sumOfSquares } from '../../src/engine/reference.ts';
import { LINEARS, linearModule, type ReferencePart, referenceModel } from '../../src/engine/reference-model.ts';
import type { Batch, Linear, ModelConfig } from '../../src/engine/types.ts';
import { bytesOf } from '../../src/formats/bytes.ts';
import { type SafetensorsTensor, writeSafetensors } from '../../src/formats/safetensors.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { fixture } from './fixtures.ts';
import { randomNormal } from './gradients.ts';

export interface MadeRun {
  readonly rank: number;
  readonly alpha: number;
  readonly targets: readonly Linear[];
  readonly shape: readonly [B: number, T: number];
  readonly steps: number;
  readonly batches: number;
  readonly clipNorm: number;
}

const put = (file: string, tensors: Iterable<SafetensorsTensor>): void => writeFileSync(file, writeSafetensors(tensors));
const json = (file: string, value: object): void => writeFileSync(file, JSON.stringify(value));
const floats = (name: string, shape: readonly number[], data: ArrayLike<number>): SafetensorsTensor => ({
  name,
  dtype: 'F32',
  shape,
  bytes: bytesOf(Float32Array.from(data)),
});
const ints = (name: string, shape: readonly number[], data: ArrayLike<number>): SafetensorsTensor => ({
  name,
  dtype: 'I32',
  shape,
  bytes: bytesOf(Int32Array.from(data)),
});
/** Rounded to what the file will hold. */
const single = (data: Float64Array): Float64Array => Float64Array.from(data, Math.fround);

/** Writes models/llama and train/llama/lora under `root`. The tokenizer is that of the fixture models/llama; V must hold its 288 ids. */
export function makeFixture(root: string, config: ModelConfig, run: MadeRun, seed: number): void {
  const { C, NH, NKV, HS, F, V, L } = config;
  const sizes: Record<Linear, readonly [inputs: number, outputs: number]> = {
    q_proj: [C, NH * HS],
    k_proj: [C, NKV * HS],
    v_proj: [C, NKV * HS],
    o_proj: [NH * HS, C],
    gate_proj: [C, F],
    up_proj: [C, F],
    down_proj: [F, C],
  };
  const weights = new Map<string, { shape: readonly number[]; data: Float64Array }>();
  const random = (name: string, shape: readonly number[], scale: number, center = 0): void => {
    const n = shape.reduce((a, b) => a * b, 1);
    weights.set(name, { shape, data: single(randomNormal(n, seed + weights.size, scale).map((x) => x + center)) });
  };
  random('model.embed_tokens.weight', [V, C], config.tied ? 0.25 : 1);
  for (let l = 0; l < L; l++) {
    for (const linear of LINEARS) {
      const [K, N] = sizes[linear];
      random(`${linearModule(l, linear)}.weight`, [N, K], 1 / Math.sqrt(K));
    }
    random(`model.layers.${l}.input_layernorm.weight`, [C], 0.1, 1);
    random(`model.layers.${l}.post_attention_layernorm.weight`, [C], 0.1, 1);
  }
  random('model.norm.weight', [C], 0.1, 1);
  if (!config.tied) random('lm_head.weight', [V, C], 0.25);
  const model = referenceModel(config, weights);
  const pick = seededRandom(seed);
  const tokens = (n: number): Uint32Array => Uint32Array.from({ length: n }, () => pick.below(V));

  const folder = path.join(root, 'models/llama');
  mkdirSync(folder, { recursive: true });
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) cpSync(fixture(`models/llama/${file}`), path.join(folder, file));
  json(path.join(folder, 'config.json'), {
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    hidden_act: 'silu',
    hidden_size: C,
    intermediate_size: F,
    num_hidden_layers: L,
    num_attention_heads: NH,
    num_key_value_heads: NKV,
    head_dim: HS,
    vocab_size: V,
    max_position_embeddings: config.context,
    rms_norm_eps: config.normEps,
    rope_theta: config.ropeTheta,
    tie_word_embeddings: config.tied,
    ...(config.ropeScaling === undefined || 'divisors' in config.ropeScaling
      ? {}
      : {
          rope_scaling: {
            rope_type: 'llama3',
            factor: config.ropeScaling.factor,
            low_freq_factor: config.ropeScaling.lowFreqFactor,
            high_freq_factor: config.ropeScaling.highFreqFactor,
            original_max_position_embeddings: config.ropeScaling.originalContext,
          },
        }),
    eos_token_id: config.stopIds,
  });
  put(
    path.join(folder, `weights.safetensors`),
    [...weights].map(([name, { shape, data }]) => floats(name, shape, data)),
  );
  const prompt = tokens(13);
  put(path.join(folder, 'expected.safetensors'), [
    ints('input_ids.0', [prompt.length], prompt),
    floats('logits.0', [prompt.length, V], model.logits(prompt, [1, prompt.length])),
    ints('greedy.0', [9], model.greedy(prompt, 9, [])),
  ]);
  json(path.join(folder, 'expected.json'), { float32_max_abs_error: 1e-5 });

  const parts = Array.from({ length: L }, (_, layer) => layer).flatMap((layer) =>
    run.targets.map((linear): ReferencePart => {
      const [K, N] = sizes[linear];
      const name = `base_model.model.${linearModule(layer, linear)}`;
      const data = (n: number, kind: number): Float64Array =>
        single(randomNormal(n, seed + 500 + layer * 20 + LINEARS.indexOf(linear) * 2 + kind, 0.1));
      return {
        kind: 'low-rank',
        site: { layer, linear },
        A: { name: `${name}.lora_A.weight`, shape: [run.rank, K], data: data(run.rank * K, 0) },
        B: { name: `${name}.lora_B.weight`, shape: [N, run.rank], data: data(N * run.rank, 1) },
        scale: run.alpha / run.rank,
      };
    }),
  );
  trainFixture(path.join(root, 'train/llama/lora'), model, parts, run, tokens);
}

function trainFixture(
  folder: string,
  model: ReturnType<typeof referenceModel>,
  parts: readonly ReferencePart[],
  run: MadeRun,
  draw: (n: number) => Uint32Array,
): void {
  mkdirSync(folder, { recursive: true });
  const [B, T] = run.shape;
  const trained = parts.flatMap((part) => (part.kind === 'low-rank' ? [part.A, part.B] : []));
  const asFile = (): SafetensorsTensor[] => trained.map(({ name, shape, data }) => floats(name, shape, data));
  put(path.join(folder, 'init.safetensors'), asFile());
  const labelled = Array.from({ length: run.batches }, (_, k) => {
    const inputs = draw(B * T);
    // row b is b tokens short of T, and its first third is a prompt
    const labels = Int32Array.from(inputs, (id, i) => (i % T < T / 3 || i % T >= T - Math.floor(i / T) ? -100 : id));
    return { k, inputs, labels };
  });
  put(
    path.join(folder, 'batches.safetensors'),
    labelled.flatMap(({ k, inputs, labels }) => [ints(`input_ids.${k}`, [B, T], inputs), ints(`labels.${k}`, [B, T], labels)]),
  );
  const moments = trained.map(({ data }) => [new Float64Array(data.length), new Float64Array(data.length)]);
  const lrs = Array.from({ length: run.steps }, (_, step) => (step === 0 ? 0 : 0.01 / step));
  const losses: number[] = [];
  const norms: number[] = [];
  for (const [step, lr] of lrs.entries()) {
    const { inputs, labels } = labelled[step % run.batches];
    const targets = Int32Array.from(labels, (_, i) => (i % T === T - 1 || labels[i + 1] < 0 ? -1 : labels[i + 1]));
    const batch: Batch = { tokens: inputs, targets, shape: run.shape };
    const { loss, gradients } = model.lossAndGradients(batch, parts, targets.filter((t) => t >= 0).length);
    const norm = Math.sqrt([...gradients.values()].reduce((sum, g) => sum + sumOfSquares(g), 0));
    losses.push(loss);
    norms.push(norm);
    if (step === 0) {
      const shapes = new Map(trained.map(({ name, shape }) => [name, shape]));
      put(
        path.join(folder, 'grads_step1.safetensors'),
        [...gradients].map(([name, g]) => floats(name, shapes.get(name) ?? [], g)),
      );
    }
    const options = { lr, beta1: 0.8, beta2: 0.95, eps: 1e-6, weightDecay: 0.1, clipNorm: run.clipNorm };
    trained.forEach(({ name, data }, i) => {
      const g = gradients.get(name);
      if (g !== undefined) adamwStep(data, moments[i][0], moments[i][1], g, step + 1, options, clipCoefficient(norm, run.clipNorm), true);
    });
  }
  put(path.join(folder, 'adapter_model.safetensors'), asFile());
  json(path.join(folder, 'adapter_config.json'), {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    r: run.rank,
    lora_alpha: run.alpha,
    lora_dropout: 0,
    target_modules: run.targets,
    bias: 'none',
    use_rslora: false,
    use_dora: false,
  });
  put(path.join(folder, 'final_logits.safetensors'), [
    ints('input_ids', [B, T], labelled[0].inputs),
    floats('logits', [B, T, model.config.V], model.logits(labelled[0].inputs, run.shape, parts)),
  ]);
  json(path.join(folder, 'run.json'), {
    hyperparameters: { betas: [0.8, 0.95], eps: 1e-6, weight_decay: 0.1, max_grad_norm: run.clipNorm, steps: run.steps },
    batches: 'batches.safetensors, made for a test',
    losses,
    grad_norms: norms,
    lrs,
  });
}
