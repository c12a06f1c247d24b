// The network on the GPU: one token down through forward(), one kernel call a line. It runs once for a shape and records a plan, which every step replays.
//
// What backward reads. With `keep`, every layer has tensors of its own, named as in reference-model.ts: x (the layer's input), rstd1 and xn1 (the
// normed input of q, k and v), q and k after rope, v, o and lse (attention's output), x2 (after attention), rstd2 and xn2 (the normed input of gate and
// up), gate, up, and `lowRank`, the h = A x of each group of low-rank sites. h, the output of swiglu, is one tensor for all layers: backward makes it
// again from gate and up. `x`, `rstd` and `hidden` at the end are the last layer's output and the final norm's. Kept is 'inputs' alone for recomputation: every
// layer has an x of its own and shares the rest, which backward makes again layer by layer (Chen et al. 2016, arXiv:1604.06174). Without `keep` all share one set.
import type { LowRankGroup } from './calls.ts';
import {
  attentionForward,
  embedForward,
  linearForward,
  loraDown,
  type RowsShape,
  rmsnormForward,
  ropeCache,
  ropeForward,
  swigluForward,
} from './calls.ts';
import { attentionDecode, type LowRankTogether, linearForwardSwiglu, linearForwardThree, TENSORS_OF_THREE } from './calls-decode.ts';
import { type Call, createTensor, destroyBuffer, type Gpu, type MemoryKind, type Plan, tensorBytes } from './gpu.ts';
import { GROUPS, type GroupName, type LoadedPatch } from './patch.ts';
import type { Linear, ModelConfig, Tensor } from './types.ts';
import { LINEARS, type ModelWeights } from './weights.ts';

export type { ModelWeights } from './weights.ts';

/** Of M = B * T tokens. */
export interface LayerActivations {
  /** (M, C) */
  readonly x: Tensor;
  readonly xn1: Tensor;
  readonly x2: Tensor;
  readonly xn2: Tensor;
  /** (M) */
  readonly rstd1: Tensor;
  readonly rstd2: Tensor;
  /** (M, NH * HS) */
  readonly q: Tensor;
  readonly o: Tensor;
  /** (M, NKV * HS) */
  readonly k: Tensor;
  readonly v: Tensor;
  /** (M, NH) */
  readonly lse: Tensor;
  /** (M, F) */
  readonly gate: Tensor;
  readonly up: Tensor;
}
export interface Activations {
  /** (M) u32 */
  readonly tokens: Tensor;
  /** (M, 2) u32, a row of it for each row of the batch: the position of its first token, and its slot in the cache (its own number without a cache). */
  readonly rows: Tensor;
  readonly layers: readonly LayerActivations[];
  /** (M, F), of the layer at work. */
  readonly h: Tensor;
  /** (M, C) */
  readonly x: Tensor;
  readonly hidden: Tensor;
  /** (M) */
  readonly rstd: Tensor;
}
/** h = A x of each layer's low-rank groups, (M, ranks). */
export type LowRankActivations = readonly Readonly<Partial<Record<GroupName, Tensor>>>[];
/** Keys (after rope) and values of each layer, (slots, TK, NKV * HS). */
export interface KeyValueCache {
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];
  /** Scratch of attention_decode for as many rows as there are slots. */
  readonly partial: Tensor;
}

/** Shapes of a layer's activations, and of those that are there once. */
function layerShapes(M: number, { C, NH, NKV, HS, F }: ModelConfig): Record<keyof LayerActivations, readonly number[]> {
  return {
    x: [M, C],
    xn1: [M, C],
    x2: [M, C],
    xn2: [M, C],
    rstd1: [M],
    rstd2: [M],
    q: [M, NH * HS],
    o: [M, NH * HS],
    k: [M, NKV * HS],
    v: [M, NKV * HS],
    lse: [M, NH],
    gate: [M, F],
    up: [M, F],
  };
}

/** Whether backward finds all of each layer, its input alone, or nothing. */
export type Keep = boolean | 'inputs';

/** Bytes of createActivations. */
export function activationBytes(config: ModelConfig, M: number, keep: Keep): number {
  const one = (shape: readonly number[]): number => Math.ceil(tensorBytes(shape, 'f32') / 256) * 256;
  const layer = Object.values(layerShapes(M, config)).reduce((sum, shape) => sum + one(shape), 0);
  const x = one([M, config.C]);
  const once = one([M]) + one([M, 2]) + one([M, config.F]) + x + one([M]) + (keep === false ? 0 : x);
  const others = config.L - 1;
  return layer + (keep === true ? others * layer : keep === 'inputs' ? others * x : 0) + once;
}

/** Buffers for up to M tokens; a smaller batch uses their first rows (`activationsOf`). */
export function createActivations(gpu: Gpu, config: ModelConfig, M: number, keep: Keep, kind: MemoryKind = 'activations'): Activations {
  const make = (name: string, shape: readonly number[], dtype: 'f32' | 'u32' = 'f32'): Tensor =>
    createTensor(gpu, name, kind, shape, dtype);
  const shapes = layerShapes(M, config);
  const layer = (): LayerActivations => ({
    x: make('x', shapes.x),
    xn1: make('xn1', shapes.xn1),
    x2: make('x2', shapes.x2),
    xn2: make('xn2', shapes.xn2),
    rstd1: make('rstd1', shapes.rstd1),
    rstd2: make('rstd2', shapes.rstd2),
    q: make('q', shapes.q),
    o: make('o', shapes.o),
    k: make('k', shapes.k),
    v: make('v', shapes.v),
    lse: make('lse', shapes.lse),
    gate: make('gate', shapes.gate),
    up: make('up', shapes.up),
  });
  const first = layer();
  return {
    tokens: make('tokens', [M], 'u32'),
    rows: make('rows', [M, 2], 'u32'),
    layers: Array.from({ length: config.L }, (_, i) => {
      if (i === 0 || keep === false) return first;
      return keep === true ? layer() : { ...first, x: make('x', shapes.x) };
    }),
    h: make('h', shapes.gate),
    x: keep === false ? first.x : make('x', shapes.x),
    hidden: make('hidden', shapes.x),
    rstd: make('rstd', [M]),
  };
}

export function destroyActivations(gpu: Gpu, acts: Activations, kind: MemoryKind = 'activations'): void {
  const all = [
    acts.tokens,
    acts.rows,
    acts.h,
    acts.x,
    acts.hidden,
    acts.rstd,
    ...acts.layers.flatMap((layer) => Object.values(layer) as Tensor[]),
  ];
  for (const buffer of new Set(all.map((tensor) => tensor.buffer))) destroyBuffer(gpu, kind, buffer);
}

/** The first rows of a tensor. */
export function firstRows(tensor: Tensor, M: number): Tensor {
  return { ...tensor, shape: [M, ...tensor.shape.slice(1)] };
}
/** The activations of a batch of M tokens within larger ones. */
export function activationsOf(acts: Activations, M: number): Activations {
  const part = (tensor: Tensor): Tensor => firstRows(tensor, M);
  return {
    tokens: part(acts.tokens),
    rows: part(acts.rows),
    layers: acts.layers.map((layer) => ({
      x: part(layer.x),
      xn1: part(layer.xn1),
      x2: part(layer.x2),
      xn2: part(layer.xn2),
      rstd1: part(layer.rstd1),
      rstd2: part(layer.rstd2),
      q: part(layer.q),
      o: part(layer.o),
      k: part(layer.k),
      v: part(layer.v),
      lse: part(layer.lse),
      gate: part(layer.gate),
      up: part(layer.up),
    })),
    h: part(acts.h),
    x: part(acts.x),
    hidden: part(acts.hidden),
    rstd: part(acts.rstd),
  };
}

/** The widest h of a patch: what a scratch for `sharedLowRank` must hold for each token. */
export function widestLowRank(patch: LoadedPatch | undefined): number {
  return Math.max(0, ...(patch?.groups ?? []).flatMap((layer) => GROUPS.map(({ name }) => layer[name]?.ranks ?? 0)));
}
/** Every group's h in one scratch, for a forward that is not kept. */
export function sharedLowRank(patch: LoadedPatch, scratch: Tensor, M: number): LowRankActivations {
  return eachGroup(patch, ({ ranks }) => ({ ...scratch, shape: [M, ranks] }));
}
/** An h of its own for every group. */
export function createLowRank(gpu: Gpu, patch: LoadedPatch, M: number, kind: MemoryKind): LowRankActivations {
  return eachGroup(patch, ({ ranks }) => createTensor(gpu, 'low-rank h', kind, [M, ranks]));
}
/** An h for each name of a group, as wide as the widest layer's: for recomputation, where one layer is at work. */
export function createLayerLowRank(gpu: Gpu, patch: LoadedPatch, M: number, kind: MemoryKind): LowRankActivations {
  const widths = layerLowRankWidths(patch);
  const made = new Map([...widths].map(([name, ranks]) => [name, createTensor(gpu, 'low-rank h', kind, [M, ranks])]));
  return eachGroup(patch, ({ ranks }, name) => ({ ...made.get(name)!, shape: [M, ranks] }));
}
/** The width of each name's widest group. */
export function layerLowRankWidths(patch: LoadedPatch): ReadonlyMap<GroupName, number> {
  const widest = GROUPS.map(({ name }) => [name, Math.max(0, ...patch.groups.map((layer) => layer[name]?.ranks ?? 0))] as const);
  return new Map(widest.filter(([, width]) => width > 0));
}
function eachGroup(patch: LoadedPatch, of: (group: LowRankGroup, name: GroupName) => Tensor): LowRankActivations {
  return patch.groups.map((layer) => {
    const made: Partial<Record<GroupName, Tensor>> = {};
    for (const { name } of GROUPS) {
      const group = layer[name];
      if (group !== undefined) made[name] = of(group, name);
    }
    return made;
  });
}

export interface ForwardOptions {
  readonly config: ModelConfig;
  readonly weights: ModelWeights;
  readonly acts: Activations;
  readonly shape: RowsShape;
  /** Low-rank parts and their h. */
  readonly patch?: { readonly loaded: LoadedPatch; readonly lowRank: LowRankActivations } | undefined;
  /** Keys and values go into a cache, and queries read all of it up to their own position. */
  readonly cache?: KeyValueCache | undefined;
  /** Another lora_down: that of training, with dropout. */
  readonly down?: (h: Tensor, x: Tensor, group: LowRankGroup) => Call;
}

/** Records tokens (B, T) -> x, the last layer's output. */
export function forward(plan: Plan, options: ForwardOptions): void {
  const { acts, weights } = options;
  for (const call of embedForward(acts.layers[0].x, acts.tokens, weights.embedding)) plan.add(call);
  acts.layers.forEach((_, layer) => {
    forwardLayer(plan, layer, options);
  });
}

/** Records one layer, x -> the next layer's x. With `again` all but that: what backward reads of the layer, the same bits as the first time. */
export function forwardLayer(plan: Plan, layer: number, options: ForwardOptions, again = false): void {
  const { config, weights, acts, shape, patch, cache, down = loraDown } = options;
  const record = (...calls: readonly Call[]): void => {
    for (const call of calls) plan.add(call);
  };
  const { rows, h } = acts;
  const eps = config.normEps;
  const a = acts.layers[layer];
  const { attentionNorm, mlpNorm, linears } = weights.layers[layer];
  const next = acts.layers[layer + 1]?.x ?? acts.x;
  /** h = A x of the low-rank parts of linears that read x; then each of those linears, with its own part. */
  const lowRank = (name: GroupName, x: Tensor): void => {
    const group = patch?.loaded.groups[layer][name];
    const hidden = patch?.lowRank[layer][name];
    if (group !== undefined && hidden !== undefined) record(down(hidden, x, group));
  };
  const linear = (name: GroupName, y: Tensor, x: Tensor, which: Linear, residual?: Tensor): void => {
    const site = patch?.loaded.groups[layer][name]?.sites.find(({ place }) => LINEARS[place % 7] === which);
    const hidden = patch?.lowRank[layer][name];
    const part = patch && site && hidden && { site, h: hidden, scales: patch.loaded.scales };
    record(...linearForward(y, x, linears[which], residual, part));
  };

  /** A step of decoding: linears of one input share a dispatch, with the low-rank parts that they have. */
  const single = cache !== undefined && shape.T === 1;
  const together = (name: GroupName, ...which: readonly Linear[]): LowRankTogether | undefined => {
    const group = patch?.loaded.groups[layer][name];
    const hidden = patch?.lowRank[layer][name];
    if (patch === undefined || group === undefined || hidden === undefined) return undefined;
    const sites = which.map((one) => group.sites.find(({ place }) => LINEARS[place % 7] === one));
    return { sites, h: hidden, scales: patch.loaded.scales };
  };

  record(rmsnormForward(a.xn1, a.rstd1, a.x, attentionNorm, eps));
  lowRank('qkv', a.xn1);
  const parts = together('qkv', 'q_proj', 'k_proj', 'v_proj');
  const three = single && (parts === undefined || plan.mostTensors >= TENSORS_OF_THREE);
  const qkv = three && linearForwardThree([a.q, a.k, a.v], a.xn1, [linears.q_proj, linears.k_proj, linears.v_proj], parts);
  if (qkv) record(qkv);
  else {
    linear('qkv', a.q, a.xn1, 'q_proj');
    linear('qkv', a.k, a.xn1, 'k_proj');
    linear('qkv', a.v, a.xn1, 'v_proj');
  }
  if (cache === undefined) {
    const keys = { ...a.k, shape: [shape.B, shape.T, config.NKV * config.HS] };
    record(ropeForward(a.q, a.k, weights.angles, rows, shape, config));
    record(attentionForward(a.o, a.lse, a.q, keys, a.v, rows, shape, config));
  } else {
    const [keys, values] = [cache.keys[layer], cache.values[layer]];
    if (shape.T === 1) {
      record(...attentionDecode(a.o, { keys, values, partial: cache.partial }, a.q, a.k, a.v, weights.angles, rows, config));
    } else {
      record(ropeCache(a.q, keys, values, a.k, a.v, weights.angles, rows, shape, config));
      record(attentionForward(a.o, a.lse, a.q, keys, values, rows, shape, config));
    }
  }
  lowRank('o', a.o);
  linear('o', a.x2, a.o, 'o_proj', a.x);

  record(rmsnormForward(a.xn2, a.rstd2, a.x2, mlpNorm, eps));
  lowRank('gateUp', a.xn2);
  const mlp = single && linearForwardSwiglu(h, a.xn2, linears.gate_proj, linears.up_proj, together('gateUp', 'gate_proj', 'up_proj'));
  if (mlp) record(mlp);
  else {
    linear('gateUp', a.gate, a.xn2, 'gate_proj');
    linear('gateUp', a.up, a.xn2, 'up_proj');
    if (again && patch?.loaded.groups[layer].down === undefined) return;
    record(swigluForward(h, a.gate, a.up));
  }
  lowRank('down', h);
  if (!again) linear('down', next, h, 'down_proj', a.x2);
}

/** Records x -> hidden, what the head reads. */
export function finalNorm(plan: Plan, config: ModelConfig, weights: ModelWeights, acts: Activations): void {
  plan.add(rmsnormForward(acts.hidden, acts.rstd, acts.x, weights.finalNorm, config.normEps));
}

/** Columns of a row of logits: V, rounded up to a multiple of 4. */
export function logitColumns({ V }: Pick<ModelConfig, 'V'>): number {
  return Math.ceil(V / 4) * 4;
}
/** Records hidden (rows, C) -> logits (rows, logitColumns), shard by shard of the vocabulary. */
export function head(plan: Plan, weights: ModelWeights, logits: Tensor, hidden: Tensor): void {
  for (const call of linearForward(logits, hidden, weights.head)) plan.add(call);
}
