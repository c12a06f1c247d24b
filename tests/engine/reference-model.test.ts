// The reference network: its gradients agree with central differences, and its logits and training runs with the independent oracle (../shared/fixtures).
import { describe, expect, test } from 'vitest';
import { adamwStep, clipCoefficient, type Reals, sumOfSquares } from '../../src/engine/reference.ts';
import { LINEARS, linearModule, type ReferenceModel, type ReferencePart, referenceModel } from '../../src/engine/reference-model.ts';
import type { Batch, Linear, ModelConfig } from '../../src/engine/types.ts';
import { type FixtureTensor, fixtureConfig, fixtureJson, fixtureTensors, haveFixtures, worstDifference } from '../support/fixtures.ts';
import { gradientError, randomNormal } from '../support/gradients.ts';

const SMALL: ModelConfig = {
  architecture: 'llama',
  C: 10,
  L: 2,
  NH: 4,
  NKV: 2,
  HS: 6,
  F: 9,
  V: 13,
  context: 32,
  normEps: 1e-5,
  ropeTheta: 100,
  ropeScaling: { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 32 },
  tied: true,
  stopIds: [0],
};
const sizesOf = ({ C, NH, NKV, HS, F }: ModelConfig): Record<Linear, [inputs: number, outputs: number]> => ({
  q_proj: [C, NH * HS],
  k_proj: [C, NKV * HS],
  v_proj: [C, NKV * HS],
  o_proj: [NH * HS, C],
  gate_proj: [C, F],
  up_proj: [C, F],
  down_proj: [F, C],
});

function randomWeights(config: ModelConfig): Map<string, FixtureTensor> {
  const { C, L, V } = config;
  const weights = new Map<string, FixtureTensor>();
  const put = (name: string, shape: number[], scale: number): void => {
    const n = shape.reduce((a, b) => a * b, 1);
    weights.set(name, { shape, data: randomNormal(n, weights.size + 1, scale) });
  };
  put('model.embed_tokens.weight', [V, C], 1);
  for (let l = 0; l < L; l++) {
    put(`model.layers.${l}.input_layernorm.weight`, [C], 1);
    put(`model.layers.${l}.post_attention_layernorm.weight`, [C], 1);
    for (const name of LINEARS) {
      const [K, N] = sizesOf(config)[name];
      put(`${linearModule(l, name)}.weight`, [N, K], 0.4);
    }
  }
  put('model.norm.weight', [C], 1);
  if (!config.tied) put('lm_head.weight', [V, C], 0.5);
  return weights;
}

function randomLora(config: ModelConfig, R: number): ReferencePart[] {
  return Array.from({ length: config.L }, (_, layer) => layer).flatMap((layer) =>
    LINEARS.map((linear, i): ReferencePart => {
      const [K, N] = sizesOf(config)[linear];
      const name = linearModule(layer, linear);
      const seed = 1000 + layer * 100 + i * 2;
      return {
        kind: 'low-rank',
        site: { layer, linear },
        A: { name: `${name}.lora_A`, shape: [R, K], data: randomNormal(R * K, seed, 0.5) },
        B: { name: `${name}.lora_B`, shape: [N, R], data: randomNormal(N * R, seed + 1, 0.5) },
        scale: 0.7,
      };
    }),
  );
}

// Two rows, the second one shorter: right padding with token 0 and no targets.
const BATCH: Batch = {
  tokens: Uint32Array.of(1, 5, 2, 12, 7, 3, 9, 3, 0, 0),
  targets: Int32Array.of(-1, 2, 12, 7, -1, 9, 3, -1, -1, -1),
  shape: [2, 5],
};

const f64 = (data: Reals): Float64Array => {
  if (data instanceof Float64Array) return data;
  throw new Error('This test works in f64.');
};

describe.each([
  { name: 'tied', config: SMALL },
  { name: 'untied', config: { ...SMALL, tied: false, NKV: 4 } },
])('$name network, gradients against central differences', ({ config }) => {
  const weights = randomWeights(config);
  const model = referenceModel(config, weights);

  test.each([0, 0.3])('of every low-rank factor under dropout %f', (dropout) => {
    const parts = randomLora(config, 3);
    const options = { dropout, seed: 7, counter: 4 };
    const { gradients } = model.lossAndGradients(BATCH, parts, 5, options);
    for (const part of parts) {
      if (part.kind !== 'low-rank') continue;
      for (const { name, data } of [part.A, part.B]) {
        const error = gradientError(() => model.lossAndGradients(BATCH, parts, 5, options).loss, f64(data), gradients.get(name)!, 4);
        expect(error, name).toBeLessThan(1e-6);
      }
    }
  });

  test('of every weight', () => {
    const parts = [...weights].map(
      ([name, { shape, data }]): ReferencePart => ({ kind: 'weights', name, values: { name, shape, data: data.slice() } }),
    );
    const { gradients } = model.lossAndGradients(BATCH, parts, 5);
    expect([...gradients.keys()]).toEqual([...weights.keys()]);
    for (const part of parts) {
      if (part.kind !== 'weights') continue;
      const error = gradientError(() => model.lossAndGradients(BATCH, parts, 5).loss, f64(part.values.data), gradients.get(part.name)!, 6);
      expect(error, part.name).toBeLessThan(1e-6);
    }
  });
});

describe('the small network', () => {
  const model = referenceModel(SMALL, randomWeights(SMALL));
  const tokens = Uint32Array.of(1, 5, 2, 12, 7);

  test('padding on the right and other rows change nothing', () => {
    const alone = model.logits(tokens.slice(0, 3), [1, 3]);
    const together = model.logits(Uint32Array.of(9, 9, 9, 9, 9, 1, 5, 2, 0, 0), [2, 5]);
    expect(worstDifference(alone, together.slice(5 * SMALL.V, 8 * SMALL.V))).toBe(0);
  });

  test('scores are the log-softmax of the logits before', () => {
    const logits = model.logits(tokens, [1, 5]);
    const scores = model.score(tokens, [1, 5]);
    expect(scores[0]).toBe(0);
    for (let t = 1; t < 5; t++) {
      const row = logits.slice((t - 1) * SMALL.V, t * SMALL.V);
      const sum = [...row].reduce((a, b) => a + Math.exp(b), 0);
      expect(scores[t]).toBeCloseTo(row[tokens[t]] - Math.log(sum), 10);
    }
  });

  test('low-rank parts at strength 0, and with B = 0, change nothing', () => {
    const parts = randomLora(SMALL, 2);
    const base = model.logits(tokens, [1, 5]);
    expect(model.logits(tokens, [1, 5], parts, 0)).toEqual(base);
    const noB = parts.map((part) =>
      part.kind === 'low-rank' ? { ...part, B: { ...part.B, data: new Float64Array(part.B.data.length) } } : part,
    );
    expect(model.logits(tokens, [1, 5], noB)).toEqual(base);
    expect(worstDifference(model.logits(tokens, [1, 5], parts), base)).toBeGreaterThan(0.1);
  });

  test('micro-batches add up to the batch', () => {
    const parts = randomLora(SMALL, 2);
    const whole = model.lossAndGradients(BATCH, parts, 5);
    const halves = [0, 1].map((b) =>
      model.lossAndGradients(
        { tokens: BATCH.tokens.slice(b * 5, b * 5 + 5), targets: BATCH.targets.slice(b * 5, b * 5 + 5), shape: [1, 5] },
        parts,
        5,
      ),
    );
    expect(halves[0].loss + halves[1].loss).toBeCloseTo(whole.loss, 12);
    for (const [name, gradient] of whole.gradients) {
      const sum = Float64Array.from(gradient, (_, i) => halves[0].gradients.get(name)![i] + halves[1].gradients.get(name)![i]);
      expect(worstDifference(sum, gradient)).toBeLessThan(1e-12);
    }
  });

  test('parts of other kinds are refused by code', () => {
    const part: ReferencePart = { kind: 'soft-prompt', embeddings: { name: 'p', shape: [1, SMALL.C], data: new Float64Array(SMALL.C) } };
    expect(() => model.logits(tokens, [1, 5], [part])).toThrow(expect.objectContaining({ code: 'engine/part-unsupported' }));
  });
});

/** fixtures/README.md: the larger of 2e-4 and 20 times the stated float32 drift. In f64 far less is left: 1e-6 of rounding of the stored logits. */
const LOGITS_IN_F64 = 5e-6;
const ids = (tensor: FixtureTensor): Uint32Array => Uint32Array.from(tensor.data);

function fixtureModel(folder: string): ReferenceModel {
  return referenceModel(fixtureConfig(folder), fixtureTensors(`${folder}/model.safetensors`));
}

describe.each(['models/llama', 'models/llama3_untied', 'models/llama_f16', 'stories260k'])('%s', (folder) => {
  test.skipIf(!haveFixtures(folder))('logits and greedy ids agree with the oracle', () => {
    const model = fixtureModel(folder);
    const expected = fixtureTensors(`${folder}/expected.safetensors`);
    for (const [name, tensor] of expected) {
      if (name.startsWith('logits')) {
        const tokens = ids(expected.get(name.replace('logits', 'input_ids'))!);
        expect(worstDifference(model.logits(tokens, [1, tokens.length]), tensor.data), name).toBeLessThan(LOGITS_IN_F64);
      } else if (name.startsWith('greedy')) {
        const prompt = ids(expected.get(name.replace('greedy', 'input_ids'))!);
        expect([...model.greedy(prompt, tensor.data.length, [])], name).toEqual([...tensor.data]);
      }
    }
  });
});

test.skipIf(!haveFixtures('stories260k'))(
  'stories260k: a prompt goes on as the oracle says, and a text has its mean negative log-probability',
  () => {
    const model = fixtureModel('stories260k');
    const { prompts, perplexity_case } = fixtureJson('stories260k/expected.json') as {
      prompts: { input_ids: number[]; greedy: number[] }[];
      perplexity_case: { ids: number[]; mean_nll: number };
    };
    expect([...model.greedy(Uint32Array.from(prompts[0].input_ids), 20, [])]).toEqual(prompts[0].greedy.slice(0, 20));
    const text = Uint32Array.from(perplexity_case.ids);
    const scores = model.score(text, [1, text.length]);
    expect(-[...scores].reduce((a, b) => a + b, 0) / (text.length - 1)).toBeCloseTo(perplexity_case.mean_nll, 7);
  },
);

interface Run {
  readonly hyperparameters: { betas: [number, number]; eps: number; weight_decay: number; max_grad_norm: number | null; steps: number };
  readonly losses: number[];
  readonly grad_norms: number[];
  readonly lrs: number[];
  readonly no_weight_decay_on?: string[];
}

function loraParts(tensors: ReadonlyMap<string, FixtureTensor>, scaleOf: (module: string, rank: number) => number): ReferencePart[] {
  return [...tensors.keys()]
    .filter((name) => name.endsWith('.lora_A.weight'))
    .map((nameA): ReferencePart => {
      const nameB = nameA.replace('lora_A', 'lora_B');
      const [, module, layer, linear] = /^base_model\.model\.(model\.layers\.(\d+)\..*\.(\w+))\.lora_A\.weight$/.exec(nameA)!;
      const A = tensors.get(nameA)!;
      return {
        kind: 'low-rank',
        site: { layer: Number(layer), linear: LINEARS.find((one) => one === linear)! },
        A: { name: nameA, shape: A.shape, data: A.data.slice() },
        B: { name: nameB, shape: tensors.get(nameB)!.shape, data: tensors.get(nameB)!.data.slice() },
        scale: scaleOf(module, A.shape[0]),
      };
    });
}

/** Labels shifted by one, as targets. */
function batchOf(tensors: ReadonlyMap<string, FixtureTensor>, suffix: string): { batch: Batch; count: number } {
  const inputs = tensors.get(`input_ids${suffix}`)!;
  const labels = tensors.get(`labels${suffix}`)!;
  const [B, T] = inputs.shape;
  const targets = Int32Array.from({ length: B * T }, (_, i) => (i % T === T - 1 || labels.data[i + 1] < 0 ? -1 : labels.data[i + 1]));
  return { batch: { tokens: ids(inputs), targets, shape: [B, T] }, count: targets.filter((t) => t >= 0).length };
}

describe.each(['lora', 'lora_scheduled', 'full'])('train/llama/%s', (run) => {
  test('losses, norms, gradients and final tensors of all 20 steps agree with the oracle', () => {
    const folder = `train/llama/${run}`;
    const stated = fixtureJson(`${folder}/run.json`) as Run;
    const { betas, eps, weight_decay, max_grad_norm, steps } = stated.hyperparameters;
    const base = fixtureTensors('models/llama/model.safetensors');
    const model = referenceModel(fixtureConfig('models/llama'), base);
    const parts =
      run === 'full'
        ? [...base].map(
            ([name, { shape, data }]): ReferencePart => ({ kind: 'weights', name, values: { name, shape, data: data.slice() } }),
          )
        : loraParts(fixtureTensors(`${folder}/init.safetensors`), () => 8 / 4);
    const trained = parts.flatMap((part) => (part.kind === 'weights' ? [part.values] : part.kind === 'low-rank' ? [part.A, part.B] : []));
    const moments = trained.map(({ data }) => [new Float64Array(data.length), new Float64Array(data.length)]);
    const batches = fixtureTensors('train/llama/batches.safetensors');
    for (let step = 0; step < steps; step++) {
      const { batch, count } = batchOf(batches, `.${step % 4}`);
      const { loss, gradients } = model.lossAndGradients(batch, parts, count);
      expect(Math.abs(loss - stated.losses[step]), `loss ${step}`).toBeLessThan(1e-7);
      const norm = Math.sqrt([...gradients.values()].reduce((sum, g) => sum + sumOfSquares(g), 0));
      expect(Math.abs(norm - stated.grad_norms[step]), `norm ${step}`).toBeLessThan(1e-6);
      if (step === 0) {
        for (const [name, { data }] of fixtureTensors(`${folder}/grads_step1.safetensors`)) {
          expect(worstDifference(gradients.get(name)!, data), name).toBeLessThan(1e-6);
        }
      }
      const coefficient = clipCoefficient(norm, max_grad_norm ?? 0);
      const options = {
        lr: stated.lrs[step],
        beta1: betas[0],
        beta2: betas[1],
        eps,
        weightDecay: weight_decay,
        clipNorm: max_grad_norm ?? 0,
      };
      trained.forEach(({ name, data }, i) => {
        const decay = !stated.no_weight_decay_on?.includes(name);
        adamwStep(data, moments[i][0], moments[i][1], gradients.get(name)!, step + 1, options, coefficient, decay);
      });
    }
    const final = fixtureTensors(`${folder}/${run === 'full' ? 'model' : 'adapter_model'}.safetensors`);
    for (const { name, data } of trained) expect(worstDifference(data, final.get(name)!.data), name).toBeLessThan(1e-6);
    const logits = fixtureTensors(`${folder}/final_logits.safetensors`);
    const { batch } = batchOf(batches, '.0');
    expect(worstDifference(model.logits(batch.tokens, batch.shape, parts), logits.get('logits')!.data)).toBeLessThan(LOGITS_IN_F64);
  });
});

test.each([
  { run: 'rslora', scaleOf: (_: string, rank: number) => 8 / Math.sqrt(rank) },
  { run: 'lora_patterns', scaleOf: (module: string, rank: number) => (module === 'model.layers.1.self_attn.q_proj' ? 3 : 8) / rank },
])('train/llama/$run: logits and gradients agree with the oracle', ({ run, scaleOf }) => {
  const model = fixtureModel('models/llama');
  const parts = loraParts(fixtureTensors(`train/llama/${run}/adapter_model.safetensors`), scaleOf);
  const expected = fixtureTensors(`train/llama/${run}/expected.safetensors`);
  const [B, T] = expected.get('input_ids')!.shape;
  expect(worstDifference(model.logits(ids(expected.get('input_ids')!), [B, T], parts), expected.get('logits')!.data)).toBeLessThan(
    LOGITS_IN_F64,
  );
  if (!expected.has('labels')) return;
  const { batch, count } = batchOf(expected, '');
  const { gradients } = model.lossAndGradients(batch, parts, count);
  for (const [name, gradient] of gradients) expect(worstDifference(gradient, expected.get(`grad:${name}`)!.data), name).toBeLessThan(1e-6);
});
