// One function a forward kernel: the shapes of a call, its grid and its cost. What model.ts, generate.ts and score.ts record, and what kernel tests run.
// Order of arguments: outputs, what is saved for backward, inputs, weights, numbers.
import { type Call, elements, type Param } from './gpu.ts';
import type { ModelConfig, Tensor } from './types.ts';

/** A matrix in row shards that each fit a binding: `first` is the row at which a shard begins, a multiple of 4. */
export interface Shard {
  readonly tensor: Tensor;
  readonly first: number;
}
export type Matrix = readonly Shard[];

/** Rows (tokens) from which a tile of 8 rows is faster than one row a thread, on SwiftShader: 8 rows cost it about what 3 cost the other. */
const TILE_FROM = 3;
/** exp and the like, and scattered reads, against multiply-adds of a register tile: what a dispatch costs more than its arithmetic says. */
const SLOW = 4;
/** Runs of columns that argmax and log_sum_exp cut a row of logits into. */
export const PIECES = 32;

const groups = (threads: number, size: number): readonly [number] => [Math.max(1, Math.ceil(threads / size))];
const last = (tensor: Tensor): number => tensor.shape[tensor.shape.length - 1];

/** x (M, C) = table[tokens (M)], one call a shard. */
export function embedForward(x: Tensor, tokens: Tensor, table: Matrix): Call[] {
  const [M, C] = [elements(tokens.shape), last(x)];
  return table.map(({ tensor, first }) => ({
    kernel: `embed_forward_${tensor.dtype}`,
    overrides: { K: C },
    tensors: [x, tokens, tensor],
    params: [M, tensor.shape[0], first],
    grid: groups((M * C) / 4, 64),
    flops: SLOW * M * C,
  }));
}

/** y (M, C), rstd (M) of x (M, C) with gain w (C). */
export function rmsnormForward(y: Tensor, rstd: Tensor, x: Tensor, w: Tensor, eps: number): Call {
  const [M, C] = x.shape;
  return {
    kernel: 'rmsnorm_forward',
    overrides: { C, EPS: eps },
    tensors: [y, rstd, x, w],
    params: [M],
    grid: groups(M, 32),
    flops: SLOW * 5 * M * C,
  };
}

/** A linear's low-rank part: h (M, ranks) of its group, made by `loraDown`, and scale times strength of every site (`scales`). */
export interface LowRankUp {
  readonly site: LowRankSite;
  readonly h: Tensor;
  readonly scales: Tensor;
}

/** y (M, N) = x (M, K) w^T (N, K), plus scale h B^T of a low-rank part and `residual` (M, N) where given; one call a shard. y may be wider than N: columns
 *  past N up to a multiple of 4 are written with numbers that mean nothing. */
export function linearForward(y: Tensor, x: Tensor, w: Matrix, residual?: Tensor, lowRank?: LowRankUp): Call[] {
  const [M, K] = x.shape;
  const few = M < TILE_FROM;
  return w.map(({ tensor, first }) => {
    const N = tensor.shape[0];
    const rows = Math.ceil(M / 8);
    const tall = rows >= 8 ? 8 : rows >= 4 ? 4 : rows >= 2 ? 2 : 1;
    const { site, h, scales } = lowRank ?? {};
    const part = site === undefined || h === undefined ? [] : [last(h) / 4, site.hidden / 4, site.rank, site.index];
    return {
      kernel: `linear_forward${few ? '_few' : ''}${residual === undefined ? '' : '_add'}${site === undefined ? '' : '_lora'}_${tensor.dtype}`,
      overrides: { K },
      tensors:
        site === undefined
          ? residual === undefined
            ? [y, x, tensor]
            : [y, x, tensor, residual]
          : [y, x, tensor, residual, h, site.B, scales],
      params: [M, N, last(y) / 4, first / 4, few ? 1 : tall, ...part],
      grid: few ? [Math.ceil(N / 4 / 32), M] : [Math.ceil(N / 4 / (64 / tall)), Math.ceil(rows / tall)],
      flops: (few ? 3 : 1) * 2 * Math.max(M, few ? 1 : 8) * (K + (site === undefined ? 0 : 2 * site.rank)) * N,
    };
  });
}

/** One site of a low-rank group: its factors and where its columns of h are. */
export interface LowRankSite {
  /** layer * 7 + the linear's place in [q, k, v, o, gate, up, down]. */
  readonly place: number;
  readonly rank: number;
  readonly A: Tensor;
  readonly B: Tensor;
  /** alpha / rank, or alpha / sqrt(rank). */
  readonly scale: number;
  /** Index of scale times strength in the patch's `scales`. */
  readonly index: number;
  /** Its first column in h: a multiple of 4. Columns after its last one, up to the next multiple of 4, hold 0. */
  readonly hidden: number;
}
/** Up to three sites that share an input; `ranks` is h's width. Their A lie in one buffer, and so do their B. */
export interface LowRankGroup {
  readonly sites: readonly LowRankSite[];
  readonly ranks: number;
}

/** The stretch of one buffer that holds all these tensors. */
export function regionOf(tensors: readonly Tensor[]): Tensor {
  const offset = Math.min(...tensors.map((tensor) => tensor.offset));
  const end = Math.max(...tensors.map((tensor) => tensor.offset + 4 * elements(tensor.shape)));
  return { buffer: tensors[0].buffer, offset, shape: [(end - offset) / 4], dtype: 'f32' };
}

/** h (M, ranks) = x (M, K) A^T for all sites of a group. No dropout: training has its own. */
export function loraDown(h: Tensor, x: Tensor, group: LowRankGroup): Call {
  const [M, K] = x.shape;
  const A = regionOf(group.sites.map((site) => site.A));
  const fields = group.sites.flatMap((s): Param[] => [s.rank, s.hidden, (s.A.offset - A.offset) / 4, 0, 0, 0, { f32: s.scale }, s.place]);
  const tiles = (group.ranks / 4) * Math.ceil(M / 8);
  return {
    kernel: 'lora_down',
    tensors: [h, x, A],
    params: [M, K, 0, group.ranks, group.sites.length, 0, { f32: 1 }, ...fields],
    grid: groups(tiles, 32),
    flops: 2 * 2 * tiles * 32 * K,
  };
}

/** Where a batch's rows stand among the keys: `rows` (B, 2) holds the position of a row's first token and its row in the cache. */
export interface RowsShape {
  readonly B: number;
  readonly T: number;
}

/** Rotates q (M, NH * HS) and k (M, NKV * HS) in place. */
export function ropeForward(q: Tensor, k: Tensor, angles: Tensor, rows: Tensor, { B, T }: RowsShape, { NH, NKV, HS }: ModelConfig): Call {
  const pairs = (B * T * (NH + NKV) * HS) / 2;
  return {
    kernel: 'rope_forward',
    overrides: { NH, NKV, HS },
    tensors: [q, k, angles, rows],
    params: [B * T, T],
    grid: groups(pairs, 64),
    flops: SLOW * 6 * pairs,
  };
}

/** Rotates q in place, and k into the cache `keys` (slots, TK, NKV * HS); copies v into `values`. */
export function ropeCache(
  q: Tensor,
  keys: Tensor,
  values: Tensor,
  k: Tensor,
  v: Tensor,
  angles: Tensor,
  rows: Tensor,
  { B, T }: RowsShape,
  { NH, NKV, HS }: ModelConfig,
): Call {
  const pairs = (B * T * (NH + NKV) * HS) / 2;
  return {
    kernel: 'rope_cache',
    overrides: { NH, NKV, HS },
    tensors: [q, keys, values, k, v, angles, rows],
    params: [B * T, T, keys.shape[1]],
    grid: groups(pairs, 64),
    flops: SLOW * 8 * pairs,
  };
}

/** o, q (M, NH * HS), lse (M, NH); k and v (slots, TK, NKV * HS), with TK the second axis of k. */
export function attentionForward(
  o: Tensor,
  lse: Tensor,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  rows: Tensor,
  { B, T }: RowsShape,
  { NH, NKV, HS }: ModelConfig,
): Call {
  const TK = k.shape[1];
  return {
    kernel: 'attention_forward',
    overrides: { NH, NKV },
    constants: { HS },
    tensors: [o, lse, q, k, v, rows],
    params: [B, T, TK],
    grid: groups(B * Math.ceil(T / 2) * NH, 64),
    flops: SLOW * 4 * B * T * TK * NH * HS,
  };
}

/** y = silu(gate) * up, all (M, F). */
export function swigluForward(y: Tensor, gate: Tensor, up: Tensor): Call {
  const n = elements(gate.shape);
  return { kernel: 'swiglu_forward', tensors: [y, gate, up], params: [n / 4], grid: groups(n / 4, 64), flops: SLOW * 8 * n };
}

/** y (rows, C) = x[index (rows)], zeros where an index is 0xffffffff. */
export function gatherRows(y: Tensor, x: Tensor, index: Tensor): Call {
  const [rows, C] = y.shape;
  return {
    kernel: 'gather_rows',
    overrides: { C },
    tensors: [y, x, index],
    params: [rows],
    grid: groups((rows * C) / 4, 64),
    flops: SLOW * rows * C,
  };
}

/** y (rows) = log softmax of logits (rows, stride) at targets (rows), over V columns; partial (rows, PIECES, 2) is scratch. */
export function logProbability(y: Tensor, partial: Tensor, logits: Tensor, targets: Tensor, V: number): Call[] {
  const [rows, stride] = logits.shape;
  return [
    {
      kernel: 'log_sum_exp',
      tensors: [partial, logits],
      params: [rows, V, stride, PIECES],
      grid: groups(rows * PIECES, 64),
      flops: 2 * SLOW * 2 * rows * V,
    },
    {
      kernel: 'log_probability',
      tensors: [y, partial, logits, targets],
      params: [rows, V, stride, PIECES],
      grid: groups(rows, 64),
      flops: SLOW * 4 * rows * PIECES,
    },
  ];
}
