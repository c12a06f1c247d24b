// web-llm as a second runtime on the same weights: our files, our records, our sampling; the kernels are those of the model library.
import type { LogitProcessor, MLCEngine } from '@mlc-ai/web-llm';
import { createMD5 } from 'hash-wasm';
import { AppError } from '../lib/error.ts';
import type { WebllmEnd, WebllmFiles, WebllmLoaded, WebllmSampling } from './types.ts';
import { type CheckedFiles, checkFiles } from './webllm-check.ts';
import { checkGpu } from './webllm-check-gpu.ts';
import { type WatchedDevice, watchDevice } from './webllm-device.ts';
import { webllmError } from './webllm-errors.ts';
import type { WebllmAdapters } from './webllm-lora.ts';
import { attachAdapters } from './webllm-lora-attach.ts';
import { type TappedDevice, tapDevice } from './webllm-lora-device.ts';
import { withStore } from './webllm-store.ts';
import { putArtifact } from './webllm-store-writer.ts';
import { type KernelReader, readProduct } from './wgsl-product.ts';

/** An address of the reserved top-level domain: should web-llm ever ask for it, nobody is there. It must be https, else it is never looked up in a store. */
const ADDRESS = 'https://webllm.invalid/';
/** Lengths of prompts after which TVM is told to give back what it keeps of each. */
const LENGTHS = 16;

/** Draws the `drawn`-th token of an answer. The rule is our engine's, so that both runtimes take the same token of the same logits. */
export type Pick = (logits: Float32Array, options: WebllmSampling, drawn: number) => number;

export interface WebllmRuntime {
  readonly loaded: WebllmLoaded;
  /** Resolves when the GPU is lost. Calls that wait then, and all later ones, reject with it. */
  readonly lost: Promise<AppError>;
  /** LoRA in its kernels. What changes them goes through `inTurn`. */
  readonly adapters: WebllmAdapters;
  /** The GPU as the browser names it. */
  readonly gpuName: string;
  /** Once the calls before it have ended. `doing` completes "web-llm failed while ...". */
  inTurn<T>(doing: string, act: () => T): Promise<T>;
  /** Logits (V) after all `tokens` of a fresh cache, which go in chunk by chunk. */
  lastLogits(tokens: Uint32Array, signal: AbortSignal): Promise<Float32Array>;
  /** Logits (T, V), one token a pass. */
  logits(tokens: Uint32Array, signal: AbortSignal): Promise<Float32Array>;
  generate(
    prompt: Uint32Array,
    options: WebllmSampling,
    pick: Pick,
    onToken: (id: number) => void,
    signal: AbortSignal,
  ): Promise<WebllmEnd>;
  unload(): Promise<void>;
}

/** Loads a model. Files, library and GPU are looked at before anything is stored or run. After a failure nothing is left in the store or on the GPU, and the
 *  caller ends the worker: web-llm cannot be stopped within a load. @throws 'mlc/...', 'webllm/...', 'gpu/...', 'storage/full', AbortError */
export async function loadWebllm(
  files: WebllmFiles,
  onProgress: (done: number, what: string) => void,
  signal: AbortSignal,
  read: KernelReader = readProduct,
): Promise<WebllmRuntime> {
  signal.throwIfAborted();
  const checked = await checkFiles(files);
  await checkGpu(checked.library);
  let tapped: TappedDevice | undefined;
  const device = watchDevice((made, info) => {
    tapped = tapDevice(made, info);
  });
  const waiting = (): void => onProgress(0, 'Waiting for another tab that loads a model into web-llm');
  try {
    return await withStore(signal, waiting, async () => {
      const { MLCEngine } = await import('@mlc-ai/web-llm');
      await store(files, checked, onProgress, signal);
      const seen = lastSeen();
      const engine = new MLCEngine({
        appConfig: { model_list: [record(files.id)], cacheBackend: 'opfs' },
        logitProcessorRegistry: new Map([[files.id, seen.processor]]),
        initProgressCallback: ({ progress, text }) => onProgress(progress, text),
        logLevel: 'ERROR',
      });
      signal.throwIfAborted();
      await first(engine.reload(files.id), device.lost, signal);
      const pipeline = engine.loadedModelIdToPipeline.get(files.id);
      if (pipeline === undefined) throw new AppError('webllm/failed', 'web-llm gave up loading the model.', { fix: 'Load it again.' });
      const { contextWindowSize: context, prefillChunkSize: chunk, fullVocabSize: vocabulary } = pipeline;
      if (tapped === undefined) throw new Error('web-llm loaded a model without a GPU');
      const adapters = attachAdapters(tapped, pipeline, checked.library.params, files.id, read);
      return runtime(engine, files.id, seen.take, device, { tapped, adapters }, { context, chunk, vocabulary });
    });
  } catch (error) {
    device.release();
    throw webllmError(error, 'loading the model', signal.aborted);
  }
}

const base = (id: string): string => `${ADDRESS}${encodeURIComponent(id)}/resolve/main/`;
const libraryAddress = (id: string): string => `${ADDRESS}${encodeURIComponent(id)}/library.wasm`;
const record = (id: string) => ({ model: base(id), model_id: id, model_lib: libraryAddress(id) });

async function store(
  files: WebllmFiles,
  { chatConfig, md5 }: CheckedFiles,
  onProgress: (done: number, what: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const at = (name: string): string => new URL(name, base(files.id)).href;
  await putArtifact('config', at('mlc-chat-config.json'), chatConfig, 'application/json');
  await putArtifact('wasm', libraryAddress(files.id), files.library, 'application/wasm');
  await putArtifact('model', at('tokenizer.json'), files.tokenizer, 'application/json');
  await putArtifact('model', at('tensor-cache.json'), files.index, 'application/json');
  const hash = await createMD5();
  for (const [n, { name, file }] of files.shards.entries()) {
    signal.throwIfAborted();
    onProgress(0, `Handing over ${n + 1} of ${files.shards.length} files`);
    const bytes = new Uint8Array(await file.arrayBuffer());
    const expected = md5.get(name);
    if (expected !== undefined && hash.init().update(bytes).digest('hex') !== expected)
      throw new AppError('mlc/shard-hash', `${name} is not the file that its index describes: the sums differ.`, {
        why: 'It was damaged on the way, or it is in the place of another shard. web-llm itself would not notice.',
        fix: 'Get this file again, from the place where the index came from.',
        facts: { file: name, md5: expected },
      });
    await putArtifact('model', at(name), bytes, 'application/octet-stream');
  }
}

/** What `work` comes to, unless the GPU is lost or the person stops before. `work` then goes on by itself; what it comes to is of no use. */
function first<T>(work: Promise<T>, lost: Promise<AppError>, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal?.reason);
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    void lost.then(reject);
    work.then(resolve, reject).finally(() => signal?.removeEventListener('abort', stop));
  });
}

/** The one public way to a pass's logits: a processor that looks at them and changes nothing. */
function lastSeen(): { readonly processor: LogitProcessor; take(): Float32Array } {
  let seen: Float32Array | undefined;
  return {
    processor: {
      processLogits(logits) {
        seen = logits.slice();
        return logits;
      },
      processSampledToken: () => undefined,
      resetState: () => undefined,
    },
    take() {
      const logits = seen;
      seen = undefined;
      if (logits === undefined) throw new Error('a pass of web-llm gave no logits');
      return logits;
    },
  };
}

function runtime(
  engine: MLCEngine,
  id: string,
  take: () => Float32Array,
  device: WatchedDevice,
  { tapped, adapters }: { readonly tapped: TappedDevice; readonly adapters: WebllmAdapters },
  loaded: WebllmLoaded,
): WebllmRuntime {
  /** One pass. web-llm draws a token of its own at its end, which we do not use. */
  const pass = async (tokens: readonly number[], isPrefill: boolean): Promise<Float32Array> => {
    adapters.begin(tokens.length);
    await first(engine.forwardTokensAndSample(tokens, isPrefill, id), device.lost);
    const logits = take();
    adapters.end();
    return logits;
  };
  const start = async (tokens: Uint32Array): Promise<void> => {
    if (tokens.length === 0) {
      throw new AppError('webllm/empty-prompt', 'The prompt has no tokens.', { fix: 'Write something, or give the model a begin token.' });
    }
    if (tokens.length > loaded.context) {
      throw new AppError('webllm/context', `The prompt has ${tokens.length} tokens; web-llm has room for ${loaded.context} here.`, {
        fix: 'Shorten the prompt, or use fewer examples in it.',
        facts: { tokens: tokens.length, context: loaded.context },
      });
    }
    await engine.resetChat(false, id);
  };
  /** TVM keeps a buffer for each length of a chunk that it has met, some megabytes each in larger models: a Board would fill the GPU with them. */
  const lengths = new Set<number>();
  const tidy = (): void => {
    if (lengths.size <= LENGTHS) return;
    lengths.clear();
    const tvm = engine.loadedModelIdToPipeline.get(id)?.tvm;
    tvm?.withNewScope(() => tvm.getGlobalFunc('vm.builtin.memory_manager.clear')());
  };
  const prefill = async (tokens: Uint32Array, signal: AbortSignal): Promise<Float32Array> => {
    await start(tokens);
    tidy();
    let logits: Float32Array | undefined;
    for (let from = 0; from < tokens.length; from += loaded.chunk) {
      signal.throwIfAborted();
      const chunk = Array.from(tokens.subarray(from, from + loaded.chunk));
      lengths.add(chunk.length);
      logits = await pass(chunk, true);
    }
    if (logits === undefined) throw new Error('no chunk');
    return logits;
  };
  /** One call after the other: two at once would write into one cache. */
  let last: Promise<unknown> = Promise.resolve();
  const planned = <T>(doing: string, signal: AbortSignal | undefined, act: () => Promise<T>): Promise<T> => {
    const own = last.then(async () => {
      try {
        return await act();
      } catch (error) {
        throw webllmError(error, doing, signal?.aborted);
      }
    });
    last = own.catch(() => undefined);
    return own;
  };
  const answer: WebllmRuntime['generate'] = async (prompt, options, pick, onToken, signal) => {
    if (signal.aborted) return 'aborted';
    let logits: Float32Array;
    try {
      logits = await prefill(prompt, signal);
    } catch (error) {
      if (signal.aborted && !(error instanceof AppError)) return 'aborted';
      throw error;
    }
    for (let drawn = 0; drawn < options.maxTokens; drawn++) {
      if (signal.aborted) return 'aborted';
      const token = pick(logits, options, drawn);
      if (options.stops.includes(token)) return 'stop';
      onToken(token);
      if (drawn + 1 === options.maxTokens) break;
      if (prompt.length + drawn + 1 > loaded.context) return 'context';
      logits = await pass([token], false);
    }
    return signal.aborted ? 'aborted' : 'length';
  };
  return {
    loaded,
    lost: device.lost,
    adapters,
    gpuName: tapped.name,
    inTurn: (doing, act) => planned(doing, undefined, async () => act()),
    lastLogits: (tokens, signal) => planned('reading the prompt', signal, () => prefill(tokens, signal)),
    logits: (tokens, signal) =>
      planned('scoring', signal, async () => {
        await start(tokens);
        const all = new Float32Array(tokens.length * loaded.vocabulary);
        for (const [t, token] of tokens.entries()) {
          signal.throwIfAborted();
          all.set(await pass([token], false), t * loaded.vocabulary);
        }
        return all;
      }),
    generate: (...call) => planned('answering', call[4], () => answer(...call)),
    unload: () =>
      planned('leaving', undefined, async () => {
        device.leaving();
        try {
          await engine.unload();
        } finally {
          device.release();
        }
      }),
  };
}
