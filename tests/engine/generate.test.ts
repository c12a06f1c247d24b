// Generation: many rows against one, sampling, stops, the length of the context.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Gpu } from '../../src/engine/gpu.ts';
import { planInference } from '../../src/engine/inference.ts';
import { sampleToken } from '../../src/engine/sampling.ts';
import { type Engine, greedy, type Patch, type Sampling } from '../../src/engine/types.ts';
import { hashText } from '../../src/lib/random.ts';
import { testEngine } from '../support/engine.ts';
import { fixtureConfig } from '../support/fixtures.ts';
import { testGpu } from '../support/gpu.ts';
import { randomAdapter } from '../support/parts.ts';

const LLAMA = 'models/llama';
const config = fixtureConfig(LLAMA);
/** Prompts of different lengths, more than are decoded side by side. */
const PROMPTS = Array.from({ length: 70 }, (_, i) => Uint32Array.from({ length: 1 + ((i * 5) % 23) }, (_, t) => (i * 31 + t * 7) % 284));
const sampled: Sampling = { maxTokens: 12, stopIds: [], temperature: 0.8, topK: 40, topP: 0.9, seed: 5 };

/** Three noted paces are what plans go by, FLOP/s. */
function setPace({ paces }: Gpu, flopsPerSecond: number): void {
  paces.splice(0, paces.length, flopsPerSecond, flopsPerSecond, flopsPerSecond);
}

describe('with models/llama loaded', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await testEngine(LLAMA);
  });
  afterAll(() => engine.dispose());

  async function one(prompt: Uint32Array, options: Sampling, patch?: Patch, signal?: AbortSignal): Promise<number[]> {
    const ids: number[] = [];
    for await (const id of engine.generate(prompt, options, patch, signal)) ids.push(id);
    return ids;
  }
  async function many(prompts: readonly Uint32Array[], options: Sampling, patch?: Patch): Promise<number[][]> {
    const rows: number[][] = [];
    for await (const { row, tokens } of engine.generateMany(prompts, options, patch)) rows[row] = [...tokens];
    return rows;
  }

  test('greedy rows of generateMany equal those of generate, with and without a patch', async () => {
    const patch = engine.createPatch(
      randomAdapter(config, () => 4, 0.1, 3),
      { trainable: false },
    );
    // Stops that some rows meet early, so that rows end at different steps and others take their place.
    const options = greedy(8, [1, 2, 3, 60, 61, 62, 63, 100, 101, 102, 200, 201, 250]);
    for (const [used, prompts] of [[undefined, PROMPTS] as const, [patch, PROMPTS.slice(0, 4)] as const]) {
      const alone: number[][] = [];
      for (const prompt of prompts) alone.push(await one(prompt, options, used));
      expect(new Set(alone.map((ids) => ids.length)).size).toBeGreaterThan(1);
      expect(await many(prompts, options, used)).toEqual(alone);
    }
    engine.disposePatch(patch);
  });

  test('a seed repeats a sampled text, another seed does not, and neighbours do not change a row', async () => {
    const first = await one(PROMPTS[4], sampled);
    expect(await one(PROMPTS[4], sampled)).toEqual(first);
    expect(await one(PROMPTS[4], { ...sampled, seed: 6 })).not.toEqual(first);
    const rows = await many([PROMPTS[4], PROMPTS[7], PROMPTS[8]], sampled);
    expect(rows[0]).toEqual(first);
    expect((await many([PROMPTS[9], PROMPTS[7], PROMPTS[8]], sampled)).slice(1)).toEqual(rows.slice(1));
  });

  test('a seed gives the same text whatever the tokens a submit, and the one of the plain rule', async () => {
    const gpu = await testGpu();
    const { queue } = gpu.device;
    const submit = queue.submit.bind(queue);
    let submits = 0;
    let hold = (): void => undefined;
    queue.submit = (buffers) => {
      submits++;
      hold();
      submit(buffers);
    };
    const at = async (flopsPerSecond: number): Promise<{ ids: number[]; submits: number }> => {
      hold = () => setPace(gpu, flopsPerSecond);
      submits = 0;
      return { ids: await one(PROMPTS[4], { ...sampled, maxTokens: 24 }), submits };
    };
    const fast = await at(1e15);
    const slow = await at(1);
    gpu.paces.length = 0;
    queue.submit = submit;
    expect(fast.submits).toBeLessThanOrEqual(10);
    expect(slow.submits).toBeGreaterThan(100); // a dispatch each
    expect(slow.ids).toEqual(fast.ids);
    const prefix = [...PROMPTS[4], ...fast.ids];
    const logits = await engine.logits(Uint32Array.from(prefix), [1, prefix.length]);
    const seed = hashText(`${sampled.seed} 0`);
    const plain = fast.ids.map((_, drawn) => {
      const at = PROMPTS[4].length - 1 + drawn;
      return sampleToken(logits.subarray(at * config.V, (at + 1) * config.V), sampled, seed, drawn);
    });
    expect(plain).toEqual(fast.ids);
  });

  test('a stop token is yielded last', async () => {
    const free = await one(PROMPTS[4], greedy(8, []));
    const stop = free[3];
    expect(await one(PROMPTS[4], greedy(8, [stop]))).toEqual(free.slice(0, free.indexOf(stop) + 1));
    expect(await one(PROMPTS[4], greedy(0, []))).toEqual([]);
  });

  test('nothing is yielded after an abort, and nothing is thrown', async () => {
    const controller = new AbortController();
    const ids: number[] = [];
    for await (const id of engine.generate(PROMPTS[4], greedy(50, []), undefined, controller.signal)) {
      ids.push(id);
      if (ids.length === 3) controller.abort();
    }
    expect(ids).toHaveLength(3);
    expect(await one(PROMPTS[4], greedy(5, []), undefined, AbortSignal.abort())).toEqual([]);
    expect(await one(PROMPTS[4], greedy(3, []))).toEqual(ids);
  });

  test.each(['reading a prompt', 'writing'])('Stop while %s throws at most one submit away', async (when) => {
    const gpu = await testGpu();
    const { queue } = gpu.device;
    const submit = queue.submit.bind(queue);
    const controller = new AbortController();
    const prompt = Uint32Array.from({ length: when === 'writing' ? 5 : config.context - 60 }, (_, t) => (t * 7) % 284);
    // At this pace a dispatch is a submit: many of them a step. Stop comes while one is at work, and others would follow.
    let [submits, working, most, after] = [0, 0, 0, 0];
    setPace(gpu, 1);
    const stopAt = when === 'writing' ? 150 : 3;
    queue.submit = (buffers) => {
      submits++;
      most = Math.max(most, ++working);
      if (controller.signal.aborted) after++;
      submit(buffers);
      void queue.onSubmittedWorkDone().then(() => working--);
      setPace(gpu, 1);
      if (submits === stopAt) controller.abort();
    };
    const ids = await one(prompt, { ...sampled, maxTokens: 50 }, undefined, controller.signal);
    queue.submit = submit;
    gpu.paces.length = 0;
    expect(controller.signal.aborted).toBe(true);
    expect(ids.length).toBeLessThan(50);
    expect(most).toBe(1);
    expect(after).toBe(0);
  });

  test('a long prompt goes in by chunks, and a text ends where the context does', async () => {
    const prompt = Uint32Array.from({ length: config.context - 4 }, (_, t) => (t * 7) % 284);
    expect(await one(prompt, greedy(50, []))).toHaveLength(4);
    const full = new Uint32Array(config.context);
    await expect(one(full, greedy(1, []))).rejects.toMatchObject({ code: 'text/too-long' });
    await expect(one(new Uint32Array(0), greedy(1, []))).rejects.toMatchObject({ code: 'text/empty' });
    await expect(one(Uint32Array.of(288), greedy(1, []))).rejects.toMatchObject({ code: 'text/unknown-token' });
  });

  test('the plan of generation is what it allocates', async () => {
    const fresh = await testEngine(LLAMA);
    const held = { ...fresh.memory };
    const options = greedy(20, []);
    for await (const _ of fresh.generate(PROMPTS[4], options));
    // The memory is that of the device, which the other engine shares.
    expect(fresh.memory.activations - held.activations).toBe(planInference(config, 1, PROMPTS[4].length + 20).activations);
    fresh.dispose();
  });

  test('a known shape takes no more memory', async () => {
    await many(PROMPTS, greedy(4, []));
    await engine.score(PROMPTS[4], [1, PROMPTS[4].length]);
    const before = engine.memory;
    await many(PROMPTS, greedy(4, []));
    await engine.score(PROMPTS[4], [1, PROMPTS[4].length]);
    await one(PROMPTS[3], greedy(4, []));
    expect(engine.memory).toEqual(before);
  });
});

describe('sampleToken', () => {
  const logits = Float32Array.of(1, 3, 2, 3, -1);
  const shares = (options: Omit<Sampling, 'maxTokens' | 'stopIds' | 'seed'>): number[] => {
    const counts = new Array<number>(5).fill(0);
    for (let i = 0; i < 4000; i++) counts[sampleToken(logits, options, 1, i)]++;
    return counts.map((n) => n / 4000);
  };
  test('temperature 0 takes the largest, the lowest id among equals', () => {
    expect(shares({ temperature: 0, topK: 0, topP: 1 })).toEqual([0, 1, 0, 0, 0]);
  });
  test('temperature 1 follows the softmax, top-k keeps k, top-p keeps the smallest set that reaches p', () => {
    const weights = [...logits].map((x) => Math.exp(x));
    const total = weights.reduce((a, b) => a + b);
    for (const [i, share] of shares({ temperature: 1, topK: 0, topP: 1 }).entries()) expect(share).toBeCloseTo(weights[i] / total, 1);
    expect(shares({ temperature: 1, topK: 1, topP: 1 })).toEqual([0, 1, 0, 0, 0]);
    const two = shares({ temperature: 2, topK: 2, topP: 1 });
    expect(two[1]).toBeCloseTo(0.5, 1);
    expect(two[3]).toBeCloseTo(0.5, 1);
    expect(two[0] + two[2] + two[4]).toBe(0);
    const most = shares({ temperature: 1, topK: 0, topP: 0.5 });
    expect(most[0] + most[2] + most[4]).toBe(0);
    expect(shares({ temperature: 1, topK: 0, topP: 1e-9 })).toEqual([0, 1, 0, 0, 0]);
  });
});
