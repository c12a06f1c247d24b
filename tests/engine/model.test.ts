// The engine's forward half against the independent oracle: logits and greedy ids, batches, patches. tests/engine/generate.test.ts has the rest.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { referenceModel } from '../../src/engine/reference-model.ts';
import { type Engine, greedy, type Patch } from '../../src/engine/types.ts';
import { testEngine } from '../support/engine.ts';
import { fixtureConfig, fixtureJson, fixtureTensors, haveFixtures, worstDifference } from '../support/fixtures.ts';
import { adapterParts, randomAdapter, weightsParts } from '../support/parts.ts';

/** The base tolerance of fixtures/README.md for logits. */
const LOGITS = 2e-4;
const LLAMA = 'models/llama';

async function collect(ids: AsyncIterable<number>): Promise<number[]> {
  const all: number[] = [];
  for await (const id of ids) all.push(id);
  return all;
}

describe.each([
  [LLAMA, 'f32'],
  ['models/llama3_untied', 'f32'],
  ['models/llama_f16', 'f16'],
] as const)('%s held as %s', (folder, storage) => {
  test('logits and 32 greedy ids are those of the oracle, and everything is freed', async () => {
    const engine = await testEngine(folder, storage);
    const truth = fixtureTensors(`${folder}/expected.safetensors`);
    const cases = [...truth.keys()].filter((name) => name.startsWith('input_ids')).map((name) => name.slice('input_ids'.length));
    expect(cases.length).toBeGreaterThan(0);
    for (const i of cases) {
      const prompt = Uint32Array.from(truth.get(`input_ids${i}`)!.data);
      const logits = await engine.logits(prompt, [1, prompt.length]);
      expect(worstDifference(logits, truth.get(`logits${i}`)!.data)).toBeLessThan(LOGITS);
      const ids = truth.get(`greedy${i}`);
      if (ids !== undefined) expect(await collect(engine.generate(prompt, greedy(32, [])))).toEqual([...ids.data]);
    }
    engine.dispose();
    expect(engine.memory).toEqual({ weights: 0, activations: 0, training: 0 });
  });
});

const stories = haveFixtures('stories260k/model.safetensors');
test.skipIf(!stories)('stories260k tells the stories of the oracle', async () => {
  const engine = await testEngine('stories260k');
  const truth = fixtureTensors('stories260k/expected.safetensors');
  const text = Uint32Array.from(truth.get('input_ids')!.data);
  expect(worstDifference(await engine.logits(text, [1, text.length]), truth.get('logits')!.data)).toBeLessThan(LOGITS);
  const { prompts, perplexity_case } = fixtureJson('stories260k/expected.json') as {
    prompts: { input_ids: number[]; greedy: number[] }[];
    perplexity_case: { ids: number[]; mean_nll: number };
  };
  for (const { input_ids, greedy: ids } of prompts) {
    expect(await collect(engine.generate(Uint32Array.from(input_ids), greedy(ids.length, [])))).toEqual(ids);
  }
  const { ids, mean_nll } = perplexity_case;
  const scores = await engine.score(Uint32Array.from(ids), [1, ids.length]);
  expect(-scores.reduce((sum, s) => sum + s, 0) / (ids.length - 1)).toBeCloseTo(mean_nll, 5);
  engine.dispose();
});

describe('with models/llama loaded', () => {
  let engine: Engine;
  const truth = fixtureTensors(`${LLAMA}/expected.safetensors`);
  const prompts = [0, 1].map((i) => Uint32Array.from(truth.get(`input_ids.${i}`)!.data));
  const [short, long] = prompts;
  const config = fixtureConfig(LLAMA);
  const logits = (patch?: Parameters<Engine['logits']>[2]): Promise<Float32Array> => engine.logits(long, [1, long.length], patch);

  beforeAll(async () => {
    engine = await testEngine(LLAMA);
  });
  afterAll(() => engine.dispose());

  test('a row of a padded batch has the numbers that it has alone', async () => {
    const both = new Uint32Array(2 * long.length);
    both.set(short);
    both.set(long, long.length);
    const V = config.V;
    const together = await engine.logits(both, [2, long.length]);
    expect([...together.slice(0, short.length * V)]).toEqual([...(await engine.logits(short, [1, short.length]))]);
    expect([...together.slice(long.length * V)]).toEqual([...(await logits())]);
  });

  test('score is the log-softmax of logits', async () => {
    const tokens = Uint32Array.from([...long, ...[...long].reverse()]);
    const T = long.length;
    const { V } = config;
    const scores = await engine.score(tokens, [2, T]);
    const all = await engine.logits(tokens, [2, T]);
    const expected = Float32Array.from(tokens, (token, i) => {
      if (i % T === 0) return 0;
      const row = all.subarray((i - 1) * V, i * V);
      const max = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      return row[token] - max - Math.log(row.reduce((sum, x) => sum + Math.exp(x - max), 0));
    });
    expect(worstDifference(scores, expected)).toBeLessThan(1e-5);
    expect(scores[0]).toBe(0);
    expect(scores[T]).toBe(0);
  });

  test('more rows than one batch holds are scored as they are alone', async () => {
    const T = long.length;
    const B = 45; // 21 rows of 48 fill a batch of 1024 tokens
    const tokens = Uint32Array.from({ length: B * T }, (_, i) => (long[i % T] + Math.floor(i / T)) % config.V);
    const scores = await engine.score(tokens, [B, T]);
    for (const b of [0, 20, 21, 44]) {
      expect([...scores.subarray(b * T, (b + 1) * T)]).toEqual([...(await engine.score(tokens.subarray(b * T, (b + 1) * T), [1, T]))]);
    }
  });

  test('a low-rank patch with B = 0, one of strength 0, and none give equal logits', async () => {
    const base = await logits();
    const zero = engine.createPatch(
      randomAdapter(config, () => 4, 0, 1),
      { trainable: false },
    );
    expect(await logits(zero)).toEqual(base);
    const off = engine.createPatch(
      randomAdapter(config, () => 4, 0.2, 1),
      { trainable: false },
    );
    off.strength = 0;
    expect(await logits(off)).toEqual(base);
    off.strength = 1;
    expect(worstDifference(await logits(off), base)).toBeGreaterThan(0.1);
    engine.disposePatch(zero);
    engine.disposePatch(off);
    expect(await logits()).toEqual(base);
  });

  test('ranks from 1 to 17, different at sites that share an input, agree with the reference at strengths 1 and 1.5', async () => {
    const ranks = { q_proj: 1, k_proj: 17, v_proj: 4, o_proj: 3, gate_proj: 0, up_proj: 6, down_proj: 5 };
    const parts = randomAdapter(config, (linear) => ranks[linear], 0.1, 7);
    const reference = referenceModel(config, fixtureTensors(`${LLAMA}/model.safetensors`) as Parameters<typeof referenceModel>[1]);
    const patch = engine.createPatch(parts, { trainable: false });
    for (const strength of [1, 1.5]) {
      patch.strength = strength;
      expect(worstDifference(await logits(patch), reference.logits(long, [1, long.length], parts, strength))).toBeLessThan(LOGITS);
    }
    engine.disposePatch(patch);
  });

  test('the trained adapter of the oracle gives its logits, and its tensors come back bit for bit', async () => {
    const parts = adapterParts('train/llama/lora/adapter_model.safetensors', 2);
    const patch = engine.createPatch(parts, { trainable: true });
    const final = fixtureTensors('train/llama/lora/final_logits.safetensors');
    const { shape, data } = final.get('input_ids')!;
    const got = await engine.logits(Uint32Array.from(data), [shape[0], shape[1]], patch);
    expect(worstDifference(got, final.get('logits')!.data)).toBeLessThan(LOGITS);
    const back = await engine.readPatch(patch);
    for (const part of parts) {
      if (part.kind === 'low-rank') for (const tensor of [part.A, part.B]) expect(back.get(tensor.name)).toEqual(tensor);
    }
    engine.disposePatch(patch);
    expect(engine.memory.training).toBe(0);
  });

  test('weights in place of the base, a tied embedding among them, give the logits of the model they are from', async () => {
    const patch = engine.createPatch(weightsParts('train/llama/full/model.safetensors'), { trainable: false });
    const final = fixtureTensors('train/llama/full/final_logits.safetensors');
    const { shape, data } = final.get('input_ids')!;
    const got = await engine.logits(Uint32Array.from(data), [shape[0], shape[1]], patch);
    expect(worstDifference(got, final.get('logits')!.data)).toBeLessThan(LOGITS);
    const only = engine.createPatch(weightsParts('train/llama/full/model.safetensors').slice(0, 1), { trainable: false });
    expect(worstDifference(await logits(only), await logits())).toBeGreaterThan(1e-3);
    engine.disposePatch(patch);
    engine.disposePatch(only);
  });

  test('another of several loaded adapters is in use within 100 ms', async () => {
    const loaded = [1, 2, 3].map((seed) =>
      engine.createPatch(
        randomAdapter(config, () => 8, 0.1, seed),
        { trainable: false },
      ),
    );
    for (const patch of loaded) await logits(patch);
    // The least of several: the machine may be busy.
    const least = async (patches: readonly Patch[]): Promise<number> => {
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i < 6; i++) {
        const start = performance.now();
        await logits(patches[i % patches.length]);
        best = Math.min(best, performance.now() - start);
      }
      return best;
    };
    expect((await least(loaded)) - (await least(loaded.slice(0, 1)))).toBeLessThan(100);
    for (const patch of loaded) engine.disposePatch(patch);
  });

  test('weights held as f16 stay near those held as f32, and are read back rounded', async () => {
    const half = await testEngine(LLAMA, 'f16');
    expect(worstDifference(await half.logits(long, [1, long.length]), await logits())).toBeLessThan(5e-2);
    const name = 'model.layers.1.mlp.down_proj.weight';
    const [full, rounded] = [await engine.readWeights(name), await half.readWeights(name)];
    expect(full.shape).toEqual([config.C, config.F]);
    expect(full.data).toEqual(Float32Array.from(fixtureTensors(`${LLAMA}/model.safetensors`).get(name)!.data));
    expect(rounded.data.every((w, i) => Math.abs(w - full.data[i]) <= Math.abs(full.data[i]) * 2 ** -11 + 2 ** -25)).toBe(true);
    half.dispose();
  });

  test('a patch for another model, and a part of a kind that is not there yet, are refused by name', () => {
    const wide = { name: 'wide', shape: [4, 65], data: new Float32Array(260) };
    const up = { name: 'up', shape: [64, 4], data: new Float32Array(256) };
    const parts = [{ kind: 'low-rank', site: { layer: 0, linear: 'q_proj' }, A: wide, B: up, scale: 1 } as const];
    expect(() => engine.createPatch(parts, { trainable: false })).toThrow(expect.objectContaining({ code: 'adapter/other-base' }));
    const prompt = [{ kind: 'soft-prompt', embeddings: up } as const];
    expect(() => engine.createPatch(prompt, { trainable: false })).toThrow(expect.objectContaining({ code: 'engine/part-unsupported' }));
  });
});
