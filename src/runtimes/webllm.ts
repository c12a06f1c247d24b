// web-llm as a second runtime on the same weights: our files, our records, our sampling; the kernels are those of the model library.
import type { LogitProcessor, MLCEngine } from '@mlc-ai/web-llm';
import { memorySource } from '../formats/bytes.ts';
import { readMlcIndex } from '../formats/mlc-index.ts';
import { checkMlcLibrary, readMlcLibrary } from '../formats/mlc-library.ts';
import type { ByteSource } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';
import type { WebllmEnd, WebllmFiles, WebllmLoaded, WebllmSampling } from './types.ts';
import { webllmError } from './webllm-errors.ts';
import { clearStore, putArtifact } from './webllm-store.ts';

/** An address of the reserved top-level domain: should web-llm ever ask for it, nobody is there. It must be https, else it is never looked up in a store. */
const ADDRESS = 'https://webllm.invalid/';

/** Draws the `drawn`-th token of an answer. The rule is our engine's, so that both runtimes take the same token of the same logits. */
export type Pick = (logits: Float32Array, options: WebllmSampling, drawn: number) => number;

export interface WebllmRuntime {
  readonly loaded: WebllmLoaded;
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

/** Loads a model. After a failure the caller ends the worker: web-llm leaves uploaded weights behind.
 *  @throws 'mlc/...', 'webllm/...', 'gpu/lost', 'gpu/unavailable', AbortError */
export async function loadWebllm(
  files: WebllmFiles,
  onProgress: (done: number, what: string) => void,
  signal: AbortSignal,
): Promise<WebllmRuntime> {
  signal.throwIfAborted();
  await checkFiles(files);
  try {
    const { MLCEngine } = await import('@mlc-ai/web-llm');
    await store(files, onProgress, signal);
    const seen = lastSeen();
    const engine = new MLCEngine({
      appConfig: { model_list: [record(files.id)], cacheBackend: 'opfs' },
      logitProcessorRegistry: new Map([[files.id, seen.processor]]),
      initProgressCallback: ({ progress, text }) => onProgress(progress, text),
      logLevel: 'ERROR',
    });
    await reload(engine, files.id, signal);
    const pipeline = engine.loadedModelIdToPipeline.get(files.id);
    if (pipeline === undefined) throw new DOMException('The load was stopped.', 'AbortError');
    return runtime(engine, files.id, seen.take, {
      context: pipeline.contextWindowSize,
      chunk: pipeline.prefillChunkSize,
      vocabulary: pipeline.fullVocabSize,
    });
  } catch (error) {
    await clearStore();
    throw webllmError(error, 'loading the model');
  }
}

const base = (id: string): string => `${ADDRESS}${encodeURIComponent(id)}/resolve/main/`;
const libraryAddress = (id: string): string => `${ADDRESS}${encodeURIComponent(id)}/library.wasm`;
const record = (id: string) => ({ model: base(id), model_id: id, model_lib: libraryAddress(id) });

/** Index, shards and library against each other, before anything is stored or run: web-llm would ask the network for a shard that is missing, and its runtime
 *  ends without a reason where names or shapes differ. @throws 'mlc/...' */
async function checkFiles({ index, shards, library }: WebllmFiles): Promise<void> {
  const folder = new Map(shards.map(({ name, file }) => [name, fileSource(name, file)]));
  const read = await readMlcIndex(memorySource('tensor-cache.json', index), folder);
  checkMlcLibrary(await readMlcLibrary(memorySource('the model library', library)), read);
}

const fileSource = (name: string, file: Blob): ByteSource => ({
  name,
  size: file.size,
  read: async (start, end) => new Uint8Array(await file.slice(start, end).arrayBuffer()),
});

/** The chat config with a sampling that changes no logit: web-llm draws from what the processor has seen, refuses a config that leaves these out, and would
 *  otherwise apply the config's penalties to the logits that ours are read from. */
function withoutSampling(chatConfig: Uint8Array): Uint8Array<ArrayBuffer> {
  const parsed: unknown = JSON.parse(new TextDecoder().decode(chatConfig));
  const neutral = { temperature: 0, top_p: 1, repetition_penalty: 1, frequency_penalty: 0, presence_penalty: 0 };
  return new TextEncoder().encode(JSON.stringify({ ...Object(parsed), ...neutral }));
}

async function store(files: WebllmFiles, onProgress: (done: number, what: string) => void, signal: AbortSignal): Promise<void> {
  await clearStore();
  const at = (name: string): string => new URL(name, base(files.id)).href;
  await putArtifact('config', at('mlc-chat-config.json'), withoutSampling(files.chatConfig), 'application/json');
  await putArtifact('wasm', libraryAddress(files.id), files.library, 'application/wasm');
  await putArtifact('model', at('tokenizer.json'), files.tokenizer, 'application/json');
  await putArtifact('model', at('tensor-cache.json'), files.index, 'application/json');
  for (const [n, { name, file }] of files.shards.entries()) {
    signal.throwIfAborted();
    onProgress(0, `Handing over ${n + 1} of ${files.shards.length} files`);
    await putArtifact('model', at(name), new Uint8Array(await file.arrayBuffer()), 'application/octet-stream');
  }
}

/** `reload` has no signal of its own: `unload` ends it, and it then resolves as if nothing had been. */
async function reload(engine: MLCEngine, id: string, signal: AbortSignal): Promise<void> {
  const stop = (): void => void engine.unload().catch(() => undefined);
  signal.addEventListener('abort', stop, { once: true });
  try {
    await engine.reload(id);
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', stop);
  }
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

function runtime(engine: MLCEngine, id: string, take: () => Float32Array, loaded: WebllmLoaded): WebllmRuntime {
  /** One pass. web-llm draws a token of its own at its end, which we do not use. */
  const pass = async (tokens: readonly number[], isPrefill: boolean): Promise<Float32Array> => {
    await engine.forwardTokensAndSample(tokens, isPrefill, id);
    return take();
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
  const prefill = async (tokens: Uint32Array, signal: AbortSignal): Promise<Float32Array> => {
    await start(tokens);
    let logits: Float32Array | undefined;
    for (let from = 0; from < tokens.length; from += loaded.chunk) {
      signal.throwIfAborted();
      logits = await pass(Array.from(tokens.subarray(from, from + loaded.chunk)), true);
    }
    if (logits === undefined) throw new Error('no chunk');
    return logits;
  };
  const planned = async <T>(doing: string, act: () => Promise<T>): Promise<T> => {
    try {
      return await act();
    } catch (error) {
      throw webllmError(error, doing);
    }
  };
  return {
    loaded,
    lastLogits: (tokens, signal) => planned('reading the prompt', () => prefill(tokens, signal)),
    logits: (tokens, signal) =>
      planned('scoring', async () => {
        await start(tokens);
        const all = new Float32Array(tokens.length * loaded.vocabulary);
        for (const [t, token] of tokens.entries()) {
          signal.throwIfAborted();
          all.set(await pass([token], false), t * loaded.vocabulary);
        }
        return all;
      }),
    generate: (prompt, options, pick, onToken, signal) =>
      planned('answering', async () => {
        if (signal.aborted) return 'aborted';
        let logits: Float32Array;
        try {
          logits = await prefill(prompt, signal);
        } catch (error) {
          if (signal.aborted) return 'aborted';
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
      }),
    async unload() {
      await planned('leaving', () => engine.unload());
      await clearStore();
    },
  };
}
