// Our engine and web-llm side by side on one model's shards, for LoRA in both.

import { openGpu } from '../../../src/engine/device.ts';
import { createEngine } from '../../../src/engine/engine.ts';
import { type Engine, greedy, type HostPart, type Patch } from '../../../src/engine/types.ts';
import { LINEARS, linearName, linearShape } from '../../../src/engine/weights.ts';
import { memorySource } from '../../../src/formats/bytes.ts';
import { openModel } from '../../../src/formats/open-model.ts';
import { seededRandom } from '../../../src/lib/random.ts';
import { connect } from '../../../src/rpc/rpc.ts';
import { startWorker } from '../../../src/rpc/start-worker.ts';
import type { WebllmAdapter, WebllmApi, WebllmFactors, WebllmInUse } from '../../../src/runtimes/types.ts';
import webllmUrl from '../../../workers/webllm.ts?worker&url';
import { type Packed, unpack } from '../unpack.ts';
import plantedUrl from './planted.ts?worker&url';

const never = new AbortController().signal;
const worst = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  if (a.length !== b.length) throw new Error(`${a.length} numbers against ${b.length}`);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i] - b[i]));
  return most;
};
/** Where an array and what it is a view of do not matter: a call to the worker copies it. */
const own = (data: Float32Array): Float32Array<ArrayBuffer> => new Float32Array(data);

interface Loaded {
  readonly api: WebllmApi;
  readonly worker: Worker;
  readonly engine: Engine;
  readonly id: string;
}
let now: Loaded | undefined;
function here(): Loaded {
  if (now === undefined) throw new Error('nothing is loaded');
  return now;
}
/** The code of what went wrong, or "". */
async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return '';
  } catch (error) {
    if (error instanceof Error && 'code' in error) return `${String(error.code)}: ${error.message}`;
    throw error;
  }
}

/** The same factors for both. */
const partsOf = (engine: Engine, { factors }: WebllmAdapter): HostPart[] =>
  factors.map(({ module, rank, a, b, scale }): HostPart => {
    const [, layer, name] = /layers\.(\d+)\.\w+\.(\w+)$/.exec(module) ?? [];
    const linear = LINEARS.find((one) => one === name);
    if (linear === undefined) throw new Error(`${module} is no linear`);
    const [out, input] = linearShape(engine.config, linear);
    const path = linearName(Number(layer), linear);
    return {
      kind: 'low-rank',
      site: { layer: Number(layer), linear },
      A: { name: `${path}.lora_A`, shape: [rank, input], data: a },
      B: { name: `${path}.lora_B`, shape: [out, rank], data: b },
      scale,
    };
  });

function randomAdapter(rank: number, sizeB: number, seed: number): WebllmAdapter {
  const { engine, id } = here();
  const random = seededRandom(seed);
  const numbers = (n: number, size: number): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length: n }, () => (random.next() * 2 - 1) * size);
  const factors = Array.from({ length: engine.config.L }, (_, layer) =>
    LINEARS.map((linear): WebllmFactors => {
      const [out, input] = linearShape(engine.config, linear);
      const module = linearName(layer, linear).replace(/\.weight$/, '');
      return { module, rank, a: numbers(rank * input, 1 / Math.sqrt(input)), b: numbers(out * rank, sizeB), scale: 2 };
    }),
  );
  return { base: id, factors: factors.flat() };
}

/** Rows in which each token follows from the one before, so that there is something to learn. */
function lessons(vocabulary: number, rows: number, length: number) {
  const tokens = Uint32Array.from(
    { length: rows * length },
    (_, i) => ((Math.floor(i / length) * 31 + (i % length) * 7) % (vocabulary - 16)) + 16,
  );
  const targets = Int32Array.from({ length: tokens.length }, (_, i) => ((i + 1) % length === 0 ? -1 : tokens[i + 1]));
  return { tokens, targets, shape: [rows, length] as const };
}

/** LoRA on all linears, trained by our engine from B = 0. */
async function trained(rank: number, steps: number): Promise<{ readonly adapter: WebllmAdapter; readonly losses: readonly number[] }> {
  const { engine } = here();
  const start = randomAdapter(rank, 0, 5);
  const parts = partsOf(engine, start);
  const patch = engine.createPatch(parts, { trainable: true });
  const batch = lessons(engine.config.V, 2, 16);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    engine.accumulate(batch, patch, 2 * 15);
    const { loss } = await engine.update(patch, { lr: 5e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, clipNorm: 1 });
    losses.push(loss);
  }
  const tensors = await engine.readPatch(patch);
  engine.disposePatch(patch);
  const numbersOf = (name: string): Float32Array<ArrayBuffer> => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new Error(`the patch has no ${name}, but ${[...tensors.keys()].slice(0, 3)}`);
    return own(tensor.data);
  };
  const factors = parts.map((part, i): WebllmFactors => {
    if (part.kind !== 'low-rank') throw new Error('not low-rank');
    return { ...start.factors[i], a: numbersOf(part.A.name), b: numbersOf(part.B.name) };
  });
  return { adapter: { base: start.base, factors }, losses };
}

/** Several at once as one of more ranks, for our engine. */
function together(adapters: readonly (readonly [WebllmAdapter, number])[]): WebllmAdapter {
  const [[first]] = adapters;
  return {
    base: first.base,
    factors: first.factors.map((_, n): WebllmFactors => {
      const each = adapters.map(([adapter, strength]) => ({ ...adapter.factors[n], strength }));
      const rank = each.reduce((sum, factors) => sum + factors.rank, 0);
      const rows = each[0].b.length / each[0].rank;
      const a = Float32Array.from(each.flatMap((factors) => [...factors.a]));
      const b = new Float32Array(rows * rank);
      for (let row = 0, at = 0; row < rows; row++)
        for (const { b: its, rank: r, scale, strength } of each) for (let i = 0; i < r; i++) b[at++] = its[row * r + i] * scale * strength;
      return { module: each[0].module, rank, a, b, scale: 1 };
    }),
  };
}

const kept = new Map<string, WebllmAdapter>();
const adapterNamed = (id: string): WebllmAdapter => {
  const adapter = kept.get(id);
  if (adapter === undefined) throw new Error(`no adapter ${id}`);
  return adapter;
};

async function withPatch<T>(list: readonly WebllmInUse[], act: (patch: Patch | undefined) => Promise<T>): Promise<T> {
  const { engine } = here();
  if (list.length === 0) return act(undefined);
  const one =
    list.length === 1 ? adapterNamed(list[0].id) : together(list.map(({ id, strength }) => [adapterNamed(id), strength] as const));
  const patch = engine.createPatch(partsOf(engine, one), { trainable: false });
  if (list.length === 1) patch.strength = list[0].strength;
  try {
    return await act(patch);
  } finally {
    engine.disposePatch(patch);
  }
}
async function engineRow(tokens: Uint32Array, patch: Patch | undefined): Promise<Float32Array> {
  const { engine } = here();
  return (await engine.logits(tokens, [1, tokens.length], patch)).slice(-engine.config.V);
}

const page = {
  async load(packed: Packed, planted = false) {
    const worker = startWorker(planted ? plantedUrl : webllmUrl, import.meta.url, 'maquette web-llm');
    const { api } = connect<WebllmApi>(worker);
    const files = await unpack(packed);
    const sources = [
      memorySource('mlc-chat-config.json', files.chatConfig.slice()),
      memorySource('tensor-cache.json', files.index.slice()),
      memorySource('tokenizer.json', files.tokenizer.slice()),
      // Token ids go in: no chat is laid out.
      memorySource('chat_template.jinja', new TextEncoder().encode('{{ messages }}')),
      ...(await Promise.all(files.shards.map(async ({ name, file }) => memorySource(name, new Uint8Array(await file.arrayBuffer()))))),
    ];
    const engine = await createEngine(await openGpu(navigator.gpu), await openModel(sources), { storage: 'as-is' });
    await api.load(files, () => undefined, never);
    now = { api, worker, engine, id: packed.id };
  },
  async leave() {
    const { api, worker, engine } = here();
    await api.unload();
    worker.terminate();
    engine.dispose();
    kept.clear();
    now = undefined;
  },
  async selfTest() {
    const { api, engine } = here();
    const plan = await api.selfTestPlan();
    const patch = engine.createPatch(partsOf(engine, plan.adapter), { trainable: false });
    const logits: Float32Array[] = [];
    for (const { tokens } of plan.cases) logits.push(await engineRow(tokens, patch));
    engine.disposePatch(patch);
    const from = performance.now();
    return { test: await api.selfTest(logits, never), seconds: (performance.now() - from) / 1000, key: await api.selfTestKey() };
  },
  selfTestOf: (rows: number) =>
    codeOf(() =>
      here().api.selfTest(
        Array.from({ length: rows }, () => new Float32Array(3)),
        never,
      ),
    ),
  async train(id: string, rank: number, steps: number) {
    const { adapter, losses } = await trained(rank, steps);
    kept.set(id, adapter);
    return losses;
  },
  random: (id: string, rank: number, sizeB: number, seed: number) => void kept.set(id, randomAdapter(rank, sizeB, seed)),
  add: (id: string) => here().api.addAdapter(id, adapterNamed(id)),
  addChanged: (id: string, change: 'base' | 'module' | 'shape') =>
    codeOf(() => {
      const { base, factors } = adapterNamed(id);
      const [first, ...rest] = factors;
      const changed = {
        base: { base: 'another model', factors },
        module: { base, factors: [{ ...first, module: 'lm_head' }, ...rest] },
        shape: { base, factors: [{ ...first, a: first.a.slice(1) }, ...rest] },
      };
      return here().api.addAdapter(id, changed[change]);
    }),
  remove: (id: string) => here().api.removeAdapter(id),
  useCode: (list: readonly WebllmInUse[]) => codeOf(() => here().api.useAdapters(list)),
  lastLogitsCode: () => codeOf(() => here().api.lastLogits(Uint32Array.of(5, 6, 7), never)),
  /** Logits after `tokens` in web-llm, as they come out. */
  bits: async (tokens: readonly number[]) => Array.from(await here().api.lastLogits(Uint32Array.from(tokens), never)),
  /** Switches, asks both, and says how far they are from each other and from the model without adapters. */
  async compare(list: readonly WebllmInUse[], prompt: readonly number[]) {
    const { api } = here();
    const tokens = Uint32Array.from(prompt);
    await api.useAdapters(list);
    const inside = await api.lastLogits(tokens, never);
    const ours = await withPatch(list, (patch) => engineRow(tokens, patch));
    const base = await engineRow(tokens, undefined);
    return { apart: worst(inside, ours), fromBase: worst(ours, base) };
  },
  /** All rows (T, V), one token a pass in web-llm. */
  async compareEach(list: readonly WebllmInUse[], prompt: readonly number[]) {
    const { api, engine } = here();
    const tokens = Uint32Array.from(prompt);
    await api.useAdapters(list);
    const inside = await api.logits(tokens, never);
    return worst(inside, await withPatch(list, (patch) => engine.logits(tokens, [1, tokens.length], patch)));
  },
  async answers(list: readonly WebllmInUse[], prompt: readonly number[], count: number) {
    const { api, engine } = here();
    const tokens = Uint32Array.from(prompt);
    await api.useAdapters(list);
    const inside: number[] = [];
    const sampling = { temperature: 0, topK: 0, topP: 1, seed: 0, maxTokens: count, stops: [] };
    await api.generate(tokens, sampling, (id) => inside.push(id), never);
    const ours: number[] = [];
    await withPatch(list, async (patch) => {
      for await (const id of engine.generate(tokens, greedy(count, []), patch, never)) ours.push(id);
    });
    return { inside, ours };
  },
  /** Milliseconds of each switch. */
  async switches(lists: readonly (readonly WebllmInUse[])[]) {
    const times: number[] = [];
    for (const list of lists) {
      const from = performance.now();
      await here().api.useAdapters(list);
      times.push(performance.now() - from);
    }
    return times;
  },
};
declare global {
  var loraPage: typeof page;
}
globalThis.loraPage = page;
