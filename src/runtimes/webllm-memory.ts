// What web-llm will take of the GPU for a model, before anything is loaded. It allocates all of its cache when a model is loaded and keeps what a pass needed
// for the next one, so this is what it holds from the first answer on. The sizes are those of web-llm 0.2.86 and of TVM's paged cache (paged_kv_cache.cc,
// PlainPagedKVCacheAuxDataManager) and pooled allocator (pooled_allocator.h).
import type { MlcLibrary } from '../formats/mlc-library.ts';
import type { ModelConfig } from '../formats/types.ts';

export interface WebllmPlan {
  /** The parameters as the library names them. */
  readonly weights: number;
  /** Keys and values of every token of the context, and the tables of the cache. */
  readonly cache: number;
  /** Activations of a chunk of a prompt, logits and their sorting. */
  readonly workspace: number;
  readonly total: number;
}
export type PlannedConfig = Pick<ModelConfig, 'L' | 'NH' | 'NKV' | 'HS' | 'C' | 'F' | 'V' | 'context'>;
export type PlannedLibrary = Pick<MlcLibrary['metadata'], 'params' | 'quantization' | 'prefill_chunk_size' | 'memory_usage'>;

/** Tokens of a page, slots of a sequence and the depth of its tables: fixed in web-llm and in TVM. */
const PAGE = 16;
const DEPTHS = 2;
const TREE = 256;
/** TVM hands out workspace in multiples of this. */
const STEP = 4096;
/** Tokens of a context that web-llm is given at most: it allocates all of it at once, and newer configurations state 131 072, which takes gigabytes. */
export const CONTEXT = 4096;
/** A chunk where a library does not say: that of MLC's compiler. */
const CHUNK = 2048;
/** What is allocated while a model answers. Penalties, biases and grammars are not used here. */
const RUN = ['embed', 'prefill', 'decode', 'softmax_with_temperature', 'argsort_probs', 'sample_with_top_p'];

const numberBytes: Readonly<Record<string, number>> = { float32: 4, uint32: 4, int32: 4, float16: 2, bfloat16: 2, int8: 1, uint8: 1 };
const steps = (bytes: number): number => Math.ceil(bytes / STEP) * STEP;

/** Bytes. `config.context` is the context_window_size of mlc-chat-config.json, of which web-llm is given CONTEXT at most. */
export function planWebllmBytes(model: PlannedConfig, library: PlannedLibrary): WebllmPlan {
  const config = { ...model, context: Math.min(model.context, CONTEXT) };
  const chunk = Math.min(library.prefill_chunk_size ?? CHUNK, config.context);
  const real = /f16/.test(library.quantization) ? 2 : 4;
  const weights = library.params.reduce((sum, { shape, dtype }) => {
    const count = shape.reduce((product, dim) => product * dim, 1);
    return sum + Math.max(4, Math.ceil((count * (numberBytes[dtype] ?? 4)) / 4) * 4);
  }, 0);
  const cache = cacheBytes(config, chunk, real);
  const workspace = workspaceBytes(config, library, chunk, real);
  return { weights, cache, workspace, total: weights + cache + workspace };
}

function cacheBytes({ L, NH, NKV, HS, context }: PlannedConfig, chunk: number, real: number): number {
  const pages = Math.ceil(context / PAGE) + 1;
  const held = L * pages * 2 * NKV * PAGE * HS * real;
  // Queries, keys, values and mixed values of a chunk, and two rows of softmax sums.
  const chunked = chunk * HS * 2 * (NH + NKV) * real + 2 * chunk * NH * 4;
  // Per depth: three pairs of offsets, the pages, lengths, a rotary offset, a mask over a tree of drafts that is never used.
  const tables = DEPTHS * 4 * (3 * 2 + pages + 3 + 1 + TREE * TREE) + 4 * (2 + 1 + 2 + 6 * chunk + 2 * Math.min(TREE, chunk));
  return held + chunked + tables;
}

function workspaceBytes({ C, F, V }: PlannedConfig, { memory_usage: usage }: PlannedLibrary, chunk: number, real: number): number {
  // Where the library does not say: the widest layer holds both halves of the MLP, their product, and the stream twice.
  const prefill = usage?.prefill ?? usage?.batch_prefill ?? chunk * real * (3 * F + 2 * C);
  const planned = RUN.reduce((sum, name) => sum + steps(name === 'prefill' ? prefill : (usage?.[name] ?? 0)), 0);
  // A full chunk's embeddings and what is left of a prompt behind it; logits, probabilities, their order twice, and the way back to the processor.
  return planned + 2 * steps(chunk * C * real) + 5 * steps(V * 4);
}

/** No browser says how much memory a GPU has. What both engines may hold together without one leaving first: a GPU that gives web-llm what it asks for has this. */
export const SHARED_BYTES = 2 ** 30;

/** May web-llm's model and what our engine holds lie on one GPU? Else one leaves first, and the screen says so. `limit` is what is known to be there, in bytes. */
export function fitsBeside(webllm: WebllmPlan, ours: number, limit = SHARED_BYTES): boolean {
  return webllm.total + ours <= limit;
}
