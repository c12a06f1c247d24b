// Our engine and web-llm in one worker, on the same shards: answers of both, and what a decoded token costs in each.
import { MLCEngine } from '@mlc-ai/web-llm';
import { loraParts, randomTensors, randomTokens, SHAPES } from '../../../src/cli/bench/shapes.ts';
import { openGpu } from '../../../src/engine/device.ts';
import { createEngine } from '../../../src/engine/engine.ts';
import { sampleToken } from '../../../src/engine/sampling.ts';
import { type Engine, greedy } from '../../../src/engine/types.ts';
import { memorySource } from '../../../src/formats/bytes.ts';
import { mlcChatConfig, mlcTokenizerFiles, writeMlc } from '../../../src/formats/mlc-write.ts';
import { property } from '../../../src/formats/model-files.ts';
import { openModel } from '../../../src/formats/open-model.ts';
import { serve } from '../../../src/rpc/rpc.ts';
import type { WebllmFiles } from '../../../src/runtimes/types.ts';
import { loadWebllm, type WebllmRuntime } from '../../../src/runtimes/webllm.ts';
import { unpack } from '../unpack.ts';
import type { BothApi } from './types.ts';

const never = new AbortController().signal;
const PROMPT = 16;
/** What is used of a loaded pipeline besides what the app uses. */
interface Pipeline {
  embedAndForward(data: readonly (readonly number[])[], rows: number): Promise<unknown>;
  readonly device: { sync(): Promise<void> };
  readonly tvm: { beginScope(): void; endScope(): void };
}
let captured: MLCEngine | undefined;
const reload = MLCEngine.prototype.reload;
MLCEngine.prototype.reload = function (id) {
  captured = this;
  return reload.call(this, id);
};

/** Asked for once, before web-llm: what it watches ends every device that is asked for after it left. */
let gpu: ReturnType<typeof openGpu> | undefined;
const ownGpu = (): ReturnType<typeof openGpu> => {
  gpu ??= openGpu(navigator.gpu);
  return gpu;
};
let files: WebllmFiles | undefined;
let engine: Engine | undefined;
let webllm: WebllmRuntime | undefined;
function need<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('nothing is loaded');
  return value;
}

/** Milliseconds a token of `made` in our engine, greedy: taking the largest logit is in it. */
async function ourTime(prompt: Uint32Array, made: number): Promise<number> {
  let first = 0;
  let count = 0;
  for await (const _ of need(engine).generate(prompt, greedy(made + 1, []))) if (count++ === 0) first = performance.now();
  if (count !== made + 1) throw new Error(`${count} tokens came`);
  return (performance.now() - first) / made;
}
/** The same passes in web-llm and nothing else: no logits are read back, none are sampled, which over a vocabulary of 49 152 takes as long as twenty tokens. */
async function theirTime(prompt: Uint32Array, made: number): Promise<number> {
  const { adapters } = need(webllm);
  const found: unknown = [...need(captured).loadedModelIdToPipeline.values()][0];
  const isPipeline = (value: unknown): value is Pipeline => typeof value === 'object' && value !== null && 'embedAndForward' in value;
  if (!isPipeline(found)) throw new Error('web-llm is built in another way inside');
  const pass = async (tokens: readonly number[]): Promise<void> => {
    adapters.begin(tokens.length);
    found.tvm.beginScope();
    await found.embedAndForward([tokens], tokens.length);
    found.tvm.endScope();
    adapters.end();
  };
  await need(captured).resetChat(false, need(files).id);
  await pass([...prompt]);
  await found.device.sync();
  const started = performance.now();
  for (let i = 0; i < made; i++) await pass([prompt[i % prompt.length]]);
  await found.device.sync();
  return (performance.now() - started) / made;
}

/** What there is time for: `tokens` in each of the three ways, those of the prompt among them, which cost web-llm as much as others. One more comes of ours. */
function planned(
  rounds: number,
  made: number,
  tokens: number,
): { readonly rounds: number; readonly prompt: number; readonly made: number } {
  if (rounds * (PROMPT + made + 1) <= tokens) return { rounds, prompt: PROMPT, made };
  const each = Math.max(1, Math.min(made, Math.floor(tokens / rounds) - 2));
  return { rounds: Math.max(1, Math.min(rounds, Math.floor(tokens / (each + 2)))), prompt: 1, made: each };
}

/** A tokenizer.json with as many entries as the shape has: nothing is encoded with it, and it must fit. */
function widened(json: object, entries: number): object {
  const model = property(json, 'model');
  const vocab = property(model, 'vocab');
  if (typeof model !== 'object' || typeof vocab !== 'object') throw new Error('the tokenizer has no vocabulary');
  const more = Array.from({ length: entries }, (_, i) => [`<unused ${i}>`, i] as const).slice(Object.keys(vocab ?? {}).length);
  return { ...json, model: { ...model, vocab: { ...vocab, ...Object.fromEntries(more) } } };
}

const api: BothApi = {
  async open(packed, tokenizerConfig) {
    files = await unpack(packed);
    const json = (name: string, bytes: Uint8Array) => memorySource(name, bytes);
    const shards = await Promise.all(
      files.shards.map(async ({ name, file }) => memorySource(name, new Uint8Array(await file.arrayBuffer()))),
    );
    const source = await openModel([
      ...[json('mlc-chat-config.json', files.chatConfig), json('tensor-cache.json', files.index), json('tokenizer.json', files.tokenizer)],
      json('tokenizer_config.json', new TextEncoder().encode(tokenizerConfig)),
      ...shards,
    ]);
    engine = await createEngine(await ownGpu(), source, { storage: 'as-is' });
  },
  async make(shape, stopIds, quantization, spec) {
    const config = { ...need(SHAPES.find(({ name }) => name === shape)).config, stopIds };
    const tokenizer = { ...spec, json: widened(spec.json, config.V) };
    const shards: { name: string; file: Blob }[] = [];
    const named = new Map<string, Uint8Array<ArrayBuffer>>();
    const source = { config, tokenizer, tensors: () => randomTensors(config) };
    for await (const { name, bytes } of writeMlc(source, { quantization, floats: 'f32' })) {
      if (name.endsWith('.bin')) shards.push({ name, file: new Blob([new Uint8Array(bytes)]) });
      else named.set(name, new Uint8Array(bytes));
    }
    for (const { name, bytes } of [mlcChatConfig(source, quantization), ...mlcTokenizerFiles(tokenizer)])
      named.set(name, new Uint8Array(bytes));
    const lazy = shards.map(({ name, file }) => ({
      name,
      size: file.size,
      read: async (start: number, end: number) => new Uint8Array(await file.slice(start, end).arrayBuffer()),
    }));
    const model = await openModel([...[...named].map(([name, bytes]) => memorySource(name, bytes)), ...lazy]);
    engine = await createEngine(await ownGpu(), model, { storage: 'as-is' });
    const get = (name: string): Uint8Array<ArrayBuffer> => need(named.get(name));
    const texts = { chatConfig: get('mlc-chat-config.json'), index: get('tensor-cache.json'), tokenizer: get('tokenizer.json') };
    files = { id: `random ${quantization}`, ...texts, shards, library: new Uint8Array() };
  },
  async load(library) {
    await webllm?.unload();
    webllm = undefined;
    webllm = await loadWebllm({ ...need(files), library }, () => undefined, never);
  },
  async loadOwn() {
    webllm = await loadWebllm(need(files), () => undefined, never);
  },
  theirLogits: (prompt) => need(webllm).lastLogits(prompt, never),
  async answer(prompt, maxTokens, stops) {
    const own = need(engine);
    const ours: number[] = [];
    for await (const id of own.generate(prompt, greedy(maxTokens, [...stops]))) ours.push(id);
    const theirs: number[] = [];
    const sampling = { temperature: 0, topK: 0, topP: 1, seed: 0, maxTokens, stops };
    const end = await need(webllm).generate(
      prompt,
      sampling,
      (logits, options, drawn) => {
        const id = sampleToken(logits, options, options.seed, drawn);
        theirs.push(id);
        return id;
      },
      () => undefined,
      never,
    );
    if (end === 'aborted') throw new Error('it was stopped');
    const at = ours.findIndex((id, i) => id !== theirs[i]);
    if (at < 0 && ours.length === theirs.length) return { ours, theirs };
    const same = at < 0 ? Math.min(ours.length, theirs.length) : at;
    const tokens = new Uint32Array([...prompt, ...ours.slice(0, same)]);
    const last = (await own.logits(tokens, [1, tokens.length])).slice(-own.config.V).toSorted((a, b) => b - a);
    return { ours, theirs, margin: last[0] - last[1] };
  },
  async times(rounds, made, seconds) {
    const { config } = need(engine);
    const prompts = randomTokens('prompt', PROMPT, config.V);
    const { adapters } = need(webllm);
    const factors = loraParts(config, 8).flatMap((part) => {
      if (part.kind !== 'low-rank') return [];
      const module = part.A.name.replace(/^base_model\.model\.|\.lora_A\.weight$/g, '');
      const [a, b] = [new Float32Array(part.A.data), new Float32Array(part.B.data).fill(1e-4)];
      return [{ module, rank: 8, a, b, scale: part.scale }];
    });
    adapters.add('bench', { base: need(files).id, factors });
    const adapted = async (prompt: Uint32Array, tokens: number): Promise<number> => {
      adapters.use([{ id: 'bench', strength: 1 }]);
      const time = await theirTime(prompt, tokens);
      adapters.use([]);
      return time;
    };
    const ways = [ourTime, theirTime, adapted];
    // Our kernels compile at their first use, web-llm's were compiled as it loaded. Then all three show how long a token takes here.
    await ourTime(prompts.subarray(0, 1), 1);
    let each = 0;
    for (const time of ways) each += (await time(prompts.subarray(0, 1), 2)) / 1000;
    const plan = planned(rounds, made, seconds / each);
    const times: number[][] = ways.map(() => []);
    const order = ways.map((_, way) => way);
    // Every other round the other way round: a machine that gets busier, or less busy, then favours none.
    for (let round = 0; round < plan.rounds; round++) {
      for (const way of round % 2 === 0 ? order : order.toReversed())
        times[way].push(await ways[way](prompts.subarray(0, plan.prompt), plan.made));
    }
    adapters.remove('bench');
    const [ours, theirs, adapter] = times;
    return { prompt: plan.prompt, made: plan.made, ours, theirs, adapter };
  },
  async close() {
    await webllm?.unload();
    engine?.dispose();
    [files, engine, webllm] = [undefined, undefined, undefined];
  },
};
serve<BothApi>(api);
