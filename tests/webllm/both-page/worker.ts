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
/** The same passes in web-llm and nothing else: no logits are read back, none are sampled. */
async function theirTime(prompt: Uint32Array, made: number): Promise<number> {
  const { adapters, lastLogits } = need(webllm);
  await lastLogits(prompt, never);
  const found: unknown = [...need(captured).loadedModelIdToPipeline.values()][0];
  const isPipeline = (value: unknown): value is Pipeline => typeof value === 'object' && value !== null && 'embedAndForward' in value;
  if (!isPipeline(found)) throw new Error('web-llm is built in another way inside');
  await found.device.sync();
  const started = performance.now();
  for (let i = 0; i < made; i++) {
    adapters.begin(1);
    found.tvm.beginScope();
    await found.embedAndForward([[prompt[i % prompt.length]]], 1);
    found.tvm.endScope();
    adapters.end();
  }
  await found.device.sync();
  return (performance.now() - started) / made;
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
  async times(rounds, made) {
    const { config } = need(engine);
    const prompt = randomTokens('prompt', 16, config.V);
    const { adapters } = need(webllm);
    const factors = loraParts(config, 8).flatMap((part) => {
      if (part.kind !== 'low-rank') return [];
      const module = part.A.name.replace(/^base_model\.model\.|\.lora_A\.weight$/g, '');
      const [a, b] = [new Float32Array(part.A.data), new Float32Array(part.B.data).fill(1e-4)];
      return [{ module, rank: 8, a, b, scale: part.scale }];
    });
    adapters.add('bench', { base: need(files).id, factors });
    const [ours, theirs, adapter]: [number[], number[], number[]] = [[], [], []];
    const measures = [
      async (tokens: number) => ours.push(await ourTime(prompt, tokens)),
      async (tokens: number) => theirs.push(await theirTime(prompt, tokens)),
      async (tokens: number) => {
        adapters.use([{ id: 'bench', strength: 1 }]);
        adapter.push(await theirTime(prompt, tokens));
        adapters.use([]);
      },
    ];
    for (const measure of measures) await measure(2);
    for (const times of [ours, theirs, adapter]) times.length = 0;
    // Every other round the other way round: a machine that gets busier, or less busy, then favours none.
    for (let round = 0; round < rounds; round++) {
      for (const measure of round % 2 === 0 ? measures : measures.toReversed()) await measure(made);
    }
    adapters.remove('bench');
    return { ours, theirs, adapter };
  },
  async close() {
    await webllm?.unload();
    engine?.dispose();
    [files, engine, webllm] = [undefined, undefined, undefined];
  },
};
serve<BothApi>(api);
