// What generation and scoring share: one set of activations for the largest batch so far, a cache of keys and values, and the plans recorded over them.
// Buffers grow when a call needs more, which forgets the plans; within what is there, a new shape costs a plan and a known shape costs nothing.
import { PIECES, type RowsShape } from './calls.ts';
import { decodeScratch } from './calls-decode.ts';
import {
  ALIGNMENT_BYTES,
  aligned,
  allocating,
  createStaging,
  createTensor,
  destroyBuffer,
  type Gpu,
  Plan,
  readStaging,
  runPlans,
  tensorBytes,
} from './gpu.ts';
import {
  type Activations,
  activationBytes,
  activationsOf,
  createActivations,
  destroyActivations,
  forward,
  type KeyValueCache,
  logitColumns,
  sharedLowRank,
  widestLowRank,
} from './model.ts';
import { type LoadedPatch, writeStrength } from './patch.ts';
import type { MemoryUse, ModelConfig, Tensor } from './types.ts';
import { checkPlan, type LoadedWeights } from './weights.ts';

/** Positions of the cache come in steps of this, so that a conversation that grows keeps its plans for a while. */
export const CACHE_STEP = 256;
/** Tokens of one forward without a cache: rows beyond it are scored in another batch. */
export const MAX_TOKENS = 1024;
/** A prompt goes through the network in chunks of this many tokens. */
export const PREFILL_TOKENS = 256;
/** Prompts decoded side by side, where the cache's budget allows it: from about here on a software GPU gains nothing. */
const MAX_ROWS = 64;
/** Tokens a row that decoding makes before the host looks at them, at most. */
export const BURST = 64;
const CACHE_BYTES = 256e6;
const LOGITS_BYTES = 32e6;
const MAX_PLANS = 64;

/** Rows of logits that are on the GPU at once: about 32 MB of them, a multiple of 64 so that a chunk of rows begins where a binding may. */
export function logitRows(config: ModelConfig): number {
  return Math.max(64, Math.min(256, Math.floor(LOGITS_BYTES / logitColumns(config) / 4 / 64) * 64));
}
function cacheBytes(config: ModelConfig, slots: number, TK: number): number {
  const { L, NKV, HS } = config;
  return 2 * L * bufferBytes([slots, TK, NKV * HS]) + bufferBytes(decodeScratch(slots, TK, config));
}
/** Sizes of a batch: a register tile takes 8 rows at a time, and few sizes are few plans. */
const BATCHES = [1, 2, 4, 8, 16, 24, 32, 40, 48, 56, MAX_ROWS];
/** Rows of the smallest batch for so many. */
export function paddedRows(rows: number): number {
  return BATCHES.find((batch) => batch >= rows) ?? MAX_ROWS;
}
/** Prompts of `length` tokens, answers included, to decode side by side: the rows of a batch. */
export function rowsSideBySide(config: ModelConfig, length: number): number {
  const rows = Math.floor(CACHE_BYTES / cacheBytes(config, 1, cacheLength(config, length)));
  return BATCHES.findLast((batch) => batch <= rows) ?? 1;
}
export function cacheLength({ context }: ModelConfig, length: number): number {
  return Math.min(context, Math.ceil(length / CACHE_STEP) * CACHE_STEP);
}
/** Bytes that generation of `rows` texts of up to `length` tokens takes beside the weights. */
export function planInference(config: ModelConfig, rows: number, length: number): MemoryUse {
  const activations =
    workspaceBytes(config, Math.max(PREFILL_TOKENS, rows), rows, 0) + cacheBytes(config, rows, cacheLength(config, length));
  return { weights: 0, activations, training: 0 };
}

/** What a workspace has besides the activations, for M tokens, R rows of logits and low-rank scratch of `widest` numbers a token. */
function workspaceShapes(config: ModelConfig, M: number, R: number, widest: number) {
  return {
    lowRank: [M, widest],
    index: [M],
    targets: [M],
    scores: [M],
    gathered: [R, config.C],
    logits: [R, logitColumns(config)],
    value: [R, PIECES],
    id: [R, PIECES],
    partial: [R, PIECES, 2],
    history: [BURST, R],
    draws: [R, 4],
    options: [4],
  };
}
function workspaceBytes(config: ModelConfig, M: number, R: number, widest: number): number {
  return Object.values(workspaceShapes(config, M, R, widest)).reduce(
    (sum, shape) => sum + bufferBytes(shape),
    activationBytes(config, M, false),
  );
}
/** Of a tensor with a buffer of its own. */
function bufferBytes(shape: readonly number[]): number {
  return Math.max(ALIGNMENT_BYTES, aligned(tensorBytes(shape, 'f32')));
}

/** Buffers for M tokens and R rows of logits. */
interface Workspace {
  readonly M: number;
  readonly R: number;
  /** Numbers of low-rank scratch for each token. */
  readonly widest: number;
  readonly acts: Activations;
  readonly lowRank: Tensor;
  /** (M) u32: which rows of x go to the head; the ids to be scored. */
  readonly index: Tensor;
  readonly targets: Tensor;
  /** (M) */
  readonly scores: Tensor;
  /** (R, C), (R, logitColumns) */
  readonly gathered: Tensor;
  readonly logits: Tensor;
  /** (R, PIECES) and (R, PIECES, 2): scratch of argmax and log_sum_exp. */
  readonly value: Tensor;
  readonly id: Tensor;
  readonly partial: Tensor;
  /** (BURST, R) u32 and (R, 4) u32, see decode_advance; (4), see sample_token. */
  readonly history: Tensor;
  readonly draws: Tensor;
  readonly options: Tensor;
}
interface Cache extends KeyValueCache {
  readonly slots: number;
  readonly TK: number;
}

export class Inference {
  readonly gpu: Gpu;
  readonly config: ModelConfig;
  private readonly weights: LoadedWeights;
  private readonly memoryLimit: number | undefined;
  private workspace: Workspace | undefined;
  private cached: Cache | undefined;
  private staging: GPUBuffer | undefined;
  private readonly plans = new Map<string, { readonly plan: Plan; readonly patch: number }>();

  constructor(gpu: Gpu, config: ModelConfig, weights: LoadedWeights, memoryLimit: number | undefined) {
    this.gpu = gpu;
    this.config = config;
    this.weights = weights;
    this.memoryLimit = memoryLimit;
  }

  /** Room for forwards of M tokens and R rows of logits. @throws 'gpu/out-of-memory' */
  async reserve(M: number, R: number, patch: LoadedPatch | undefined): Promise<Workspace> {
    await patch?.ready;
    const had = this.workspace;
    const widest = widestLowRank(patch);
    if (had !== undefined && had.M >= M && had.R >= R && had.widest >= widest) return had;
    const wanted = {
      M: Math.max(had?.M ?? 0, Math.ceil(M / 64) * 64),
      R: Math.max(had?.R ?? 0, R),
      widest: Math.max(had?.widest ?? 0, widest),
    };
    this.dropWorkspace();
    const bytes = workspaceBytes(this.config, wanted.M, wanted.R, wanted.widest);
    this.check('Running this model', bytes);
    this.workspace = await allocating(this.gpu, 'Running this model', bytes, () => this.createWorkspace(wanted.M, wanted.R, wanted.widest));
    return this.workspace;
  }

  /** A cache of at least that size; its contents are lost where it must grow. @throws 'gpu/out-of-memory' */
  async reserveCache(slots: number, length: number): Promise<Cache> {
    const TK = cacheLength(this.config, length);
    const had = this.cached;
    if (had !== undefined && had.slots >= slots && had.TK >= TK) return had;
    this.dropCache();
    const { L, NKV, HS } = this.config;
    const bytes = cacheBytes(this.config, slots, TK);
    this.check('The memory of the conversation', bytes);
    const make = (name: string, shape: readonly number[]): Tensor => createTensor(this.gpu, name, 'activations', shape);
    const layers = (name: string): Tensor[] => Array.from({ length: L }, () => make(name, [slots, TK, NKV * HS]));
    this.cached = await allocating(this.gpu, 'The memory of the conversation', bytes, () => ({
      slots,
      TK,
      keys: layers('keys'),
      values: layers('values'),
      partial: make('attention_decode partial', decodeScratch(slots, TK, this.config)),
    }));
    return this.cached;
  }

  /** The plan of a name, shape and patch: forward over (B, T), then what `record` adds. Writes the patch's strength. After `reserve`. */
  async plan(
    name: string,
    shape: RowsShape,
    patch: LoadedPatch | undefined,
    cached: boolean,
    record: (plan: Plan, acts: Activations) => void,
  ): Promise<Plan> {
    if (patch !== undefined) writeStrength(this.gpu, patch, patch.strength);
    return this.barePlan(`${name} ${shape.B} x ${shape.T}`, patch, (plan, workspace) => {
      const M = shape.B * shape.T;
      const acts = activationsOf(workspace.acts, M);
      const lowRank = patch && { loaded: patch, lowRank: sharedLowRank(patch, workspace.lowRank, M) };
      const weights = patch?.weights ?? this.weights.model;
      forward(plan, { config: this.config, weights, acts, shape, patch: lowRank, cache: cached ? this.cached : undefined });
      record(plan, acts);
    });
  }
  /** The plan of a name and patch, without a forward of its own. */
  async barePlan(name: string, patch: LoadedPatch | undefined, record: (plan: Plan, workspace: Workspace) => void): Promise<Plan> {
    const key = `${name}, patch ${patch?.id ?? 0}`;
    const had = this.plans.get(key);
    if (had !== undefined) {
      this.plans.delete(key);
      this.plans.set(key, had); // youngest again
      return had.plan;
    }
    const plan = new Plan(this.gpu, key);
    record(plan, this.workspace!);
    await plan.prepare();
    this.plans.set(key, { plan, patch: patch?.id ?? 0 });
    if (this.plans.size > MAX_PLANS) {
      const [oldest] = this.plans.keys();
      this.plans.get(oldest)!.plan.dispose();
      this.plans.delete(oldest);
    }
    return plan;
  }

  /** Runs a plan, `times` over, and reads `bytes` of a tensor back; undefined where the signal stopped it. */
  async runAndRead(plan: Plan, tensor: Tensor, bytes: number, signal?: AbortSignal, times = 1): Promise<ArrayBuffer | undefined> {
    if (this.staging === undefined || this.staging.size < bytes) {
      this.staging?.destroy();
      this.staging = createStaging(this.gpu, Math.max(4096, bytes));
    }
    const staging = this.staging;
    const ended = await runPlans(this.gpu, Array<Plan>(times).fill(plan), {
      signal,
      tail: (encoder) => encoder.copyBufferToBuffer(tensor.buffer, tensor.offset, staging, 0, bytes),
    });
    return ended ? readStaging(this.gpu, staging, bytes) : undefined;
  }

  forget(patch: LoadedPatch): void {
    this.dropPlans((id) => id === patch.id);
  }
  forgetPlans(): void {
    this.dropPlans(() => true);
  }
  dispose(): void {
    this.dropWorkspace();
    this.dropCache();
    this.staging?.destroy();
    this.staging = undefined;
  }

  private check(what: string, activations: number): void {
    const held = this.gpu.memory;
    checkPlan(what, { weights: held.weights, activations: held.activations + activations, training: held.training }, this.memoryLimit);
  }
  private createWorkspace(M: number, R: number, widest: number): Workspace {
    const shapes = workspaceShapes(this.config, M, R, widest);
    const make = (name: keyof typeof shapes, dtype: 'f32' | 'u32' = 'f32'): Tensor =>
      createTensor(this.gpu, name, 'activations', shapes[name], dtype);
    return {
      M,
      R,
      widest,
      acts: createActivations(this.gpu, this.config, M, false),
      lowRank: make('lowRank'),
      index: make('index', 'u32'),
      targets: make('targets', 'u32'),
      scores: make('scores'),
      gathered: make('gathered'),
      logits: make('logits'),
      value: make('value'),
      id: make('id', 'u32'),
      partial: make('partial'),
      history: make('history', 'u32'),
      draws: make('draws', 'u32'),
      options: make('options'),
    };
  }
  private dropWorkspace(): void {
    this.dropPlans(() => true);
    if (this.workspace === undefined) return;
    const { acts, lowRank, index, targets, scores, gathered, logits, value, id, partial, history, draws, options } = this.workspace;
    destroyActivations(this.gpu, acts);
    for (const tensor of [lowRank, index, targets, scores, gathered, logits, value, id, partial, history, draws, options]) {
      destroyBuffer(this.gpu, 'activations', tensor.buffer);
    }
    this.workspace = undefined;
  }
  private dropCache(): void {
    this.dropPlans(() => true);
    if (this.cached === undefined) return;
    const { keys, values, partial } = this.cached;
    for (const tensor of [...keys, ...values, partial]) destroyBuffer(this.gpu, 'activations', tensor.buffer);
    this.cached = undefined;
  }
  private dropPlans(which: (patch: number) => boolean): void {
    for (const [key, { plan, patch }] of this.plans) {
      if (!which(patch)) continue;
      plan.dispose();
      this.plans.delete(key);
    }
  }
}
export type { Workspace };
