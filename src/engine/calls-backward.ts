// One function a backward kernel: the shapes of a call, its grid and its cost. What backward.ts and train.ts record, and what kernel tests run.
// Order of arguments: outputs, what is saved for backward, inputs, weights, numbers. Gradients are added to (`+=`) unless the name or a flag says otherwise.
import { type LowRankGroup, type LowRankSite, type Matrix, PIECES, regionOf } from './calls.ts';
import { type Call, elements, type Param } from './gpu.ts';
import type { ModelConfig, Tensor } from './types.ts';

/** exp and the like, and scattered reads, against multiply-adds of a register tile. */
const SLOW = 4;
const groups = (threads: number, size: number): readonly [number] => [Math.max(1, Math.ceil(threads / size))];
const last = (tensor: Tensor): number => tensor.shape[tensor.shape.length - 1];
const up = (n: number, step: number): number => Math.ceil(n / step) * step;

/** dx += the gradient through a normalization, or dx = without `accumulate`: dx, dy, x (M, C); rstd (M); w (C). */
export function rmsnormBackward(dx: Tensor, dy: Tensor, x: Tensor, rstd: Tensor, w: Tensor, accumulate = true): Call {
  const [M, C] = x.shape;
  return {
    kernel: 'rmsnorm_backward',
    overrides: { C, ACCUMULATE: accumulate ? 1 : 0 },
    tensors: [dx, dy, x, rstd, w],
    params: [M],
    grid: groups(M, 32),
    flops: SLOW * 11 * M * C,
  };
}

/** dw (C) += sum over rows of dy x rstd. */
export function rmsnormBackwardGain(dw: Tensor, dy: Tensor, x: Tensor, rstd: Tensor): Call {
  const [M, C] = x.shape;
  return {
    kernel: 'rmsnorm_backward_gain',
    overrides: { C },
    tensors: [dw, dy, x, rstd],
    params: [M],
    grid: groups(C / 4, 32),
    flops: SLOW * 3 * M * C,
  };
}

/** Some columns of a matrix: those of one linear among the gradients of several. Both numbers are multiples of 4. */
export interface Columns {
  readonly tensor: Tensor;
  readonly column: number;
}

/** A linear's low-rank part on the way back: dh (M, ranks) of its group, made by `hidden` of `loraBackward`. */
export interface LowRankBack {
  readonly site: LowRankSite;
  readonly dh: Tensor;
  readonly dropout?: Dropout | undefined;
}

/** dx (M, K) = dy (M, N) w (N, K), or dx += with `accumulate`, plus dropped(dh A) of a low-rank part; one call a shard. */
export function linearBackwardInput(dx: Tensor, dy: Columns, w: Matrix, accumulate: boolean, lowRank?: LowRankBack): Call[] {
  const [M, K] = dx.shape;
  return w.map(({ tensor, first }, i) => {
    const N = tensor.shape[0];
    const tiles = Math.ceil(M / 8) * Math.ceil(K / 8);
    const { site, dh, dropout } = (i === 0 && lowRank) || {};
    const rate = dropout?.rate ?? 0;
    const part: Param[] =
      site === undefined || dh === undefined
        ? []
        : [last(dh) / 4, site.hidden / 4, site.rank, site.place, Math.ceil(rate * 2 ** 32), { f32: 1 / (1 - rate) }];
    return {
      kernel: `linear_backward_input${site === undefined ? '' : dropout === undefined ? '_lora' : '_dropout'}_${tensor.dtype}`,
      tensors: [dx, dy.tensor, tensor, ...(site === undefined ? [] : [dropout?.micro, dh, site.A])],
      params: [M, N, K, last(dy.tensor), dy.column + first, accumulate || i > 0 ? 1 : 0, ...part],
      grid: groups(tiles, 32),
      flops: 2 * tiles * 64 * (N + 2 * (site?.rank ?? 0)),
    };
  });
}

/** dw (N, K) += dy^T x: dy (M, N), x (M, K); one call a shard. */
export function linearBackwardWeight(dw: Matrix, dy: Columns, x: Tensor): Call[] {
  const [M, K] = x.shape;
  return dw.map(({ tensor, first }) => {
    const N = tensor.shape[0];
    const tiles = Math.ceil(N / 8) * Math.ceil(K / 8);
    return {
      kernel: 'linear_backward_weight',
      tensors: [tensor, dy.tensor, x],
      params: [M, N, K, last(dy.tensor), dy.column + first],
      grid: groups(tiles, 32),
      flops: 2 * tiles * 64 * M,
    };
  });
}

/** Dropout on the inputs of low-rank parts: `micro` holds [seed, micro-batches since the start of the fit, ...]. */
export interface Dropout {
  readonly micro: Tensor;
  /** Share of numbers set to 0, 0 to below 1. */
  readonly rate: number;
}

/** What each LoRA kernel knows of a group: `Params` of _lora.wgsl. `columns` are the sites' first columns in dy, `a` and `b` the regions their factors lie in. */
function loraParams(
  group: LowRankGroup,
  M: number,
  K: number,
  stride: number,
  columns: readonly number[],
  a: Tensor,
  b: Tensor,
  rate: number,
): Param[] {
  const sites = group.sites.flatMap((s, i): Param[] => [
    s.rank,
    s.hidden,
    (s.A.offset - a.offset) / 4,
    (s.B.offset - b.offset) / 4,
    s.B.shape[0],
    columns[i] ?? 0,
    { f32: s.scale },
    s.place,
  ]);
  return [M, K, stride, group.ranks, group.sites.length, Math.ceil(rate * 2 ** 32), { f32: 1 / (1 - rate) }, ...sites];
}

/** h (M, ranks) = dropped(x (M, K)) A^T for all sites of a group: the forward of training. */
export function loraDownDropout(h: Tensor, x: Tensor, group: LowRankGroup, dropout: Dropout): Call {
  const [M, K] = x.shape;
  const a = regionOf(group.sites.map((site) => site.A));
  const b = regionOf(group.sites.map((site) => site.B));
  const tiles = (group.ranks / 4) * Math.ceil(M / 8);
  return {
    kernel: 'lora_down_dropout',
    tensors: [h, x, a, dropout.micro],
    params: loraParams(group, M, K, 0, [], a, b, dropout.rate),
    grid: groups(tiles, 32),
    flops: SLOW * 2 * tiles * 32 * K,
  };
}

/** The two calls of a group's backward; between them come those of its linears' inputs, which add dropped(dh A). */
export interface LoraBackward {
  /** dh (M, ranks) = scale * dy B */
  readonly hidden: Call;
  /** dA += dh^T dropped(x), dB += scale * dy^T h */
  readonly factors: Call;
}
/** dh is scratch. dy holds each site's N columns from `columns[i]` on; `gradient` gives a factor's gradient, at the factor's own place in another buffer. */
export function loraBackward(
  gradient: (factor: Tensor) => Tensor,
  dh: Tensor,
  dy: Tensor,
  h: Tensor,
  x: Tensor,
  group: LowRankGroup,
  columns: readonly number[],
  dropout: Dropout | undefined,
): LoraBackward {
  const [M, K] = x.shape;
  const { sites, ranks } = group;
  const a = regionOf(sites.map((site) => site.A));
  const b = regionOf(sites.map((site) => site.B));
  const params = loraParams(group, M, K, last(dy), columns, a, b, dropout?.rate ?? 0);
  const outputs = sites.reduce((sum, site) => sum + site.B.shape[0], 0);
  const hTiles = (ranks / 4) * Math.ceil(M / 8);
  const bTiles = sites.reduce((sum, site) => sum + Math.ceil(site.B.shape[0] / 8) * Math.ceil(site.rank / 4), 0);
  const aTiles = (ranks / 4) * Math.ceil(K / 8);
  return {
    hidden: {
      kernel: 'lora_backward_hidden',
      tensors: [dh, dy, b],
      params,
      grid: groups(hTiles, 32),
      flops: (2 * 2 * hTiles * 32 * outputs) / sites.length,
    },
    factors: {
      kernel: `lora_backward_factors${dropout === undefined ? '' : '_dropout'}`,
      tensors: [
        regionOf(sites.map((site) => gradient(site.A))),
        dh,
        x,
        dropout?.micro,
        regionOf(sites.map((site) => gradient(site.B))),
        dy,
        h,
      ],
      params,
      grid: groups(aTiles + bTiles, 32),
      flops: 2 * 2 * (aTiles * (dropout === undefined ? 1 : SLOW) + bTiles) * 32 * M,
    },
  };
}

/** Rotates dq and dk back in dqkv (B * T, (NH + 2 NKV) * HS). */
export function ropeBackward(dqkv: Tensor, angles: Tensor, T: number, { NH, NKV, HS }: ModelConfig): Call {
  const M = dqkv.shape[0];
  const pairs = (M * (NH + NKV) * HS) / 2;
  return {
    kernel: 'rope_backward',
    overrides: { NH, NKV, HS },
    tensors: [dqkv, angles],
    params: [M, T, last(dqkv)],
    grid: groups(pairs, 64),
    flops: SLOW * 6 * pairs,
  };
}

/** TQ queries at positions offset, offset + 1 ... against TK keys. */
export interface AttentionShape {
  readonly B: number;
  readonly TQ: number;
  readonly TK: number;
  readonly offset: number;
}

/** dq into the first NH * HS columns of `dq`, dk and dv into the next NKV * HS each of `dkv` (after NH * HS columns left to dq), not added to what was there. In
 *  training both are one tensor, dqkv (M, (NH + 2 NKV) * HS). dO, o, q (B * TQ, NH * HS); lse, delta (B * TQ, NH); k, v (B * TK, NKV * HS). */
export function attentionBackward(
  dq: Tensor,
  dkv: Tensor,
  delta: Tensor,
  dO: Tensor,
  o: Tensor,
  lse: Tensor,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { B, TQ, TK, offset }: AttentionShape,
  { NH, NKV, HS }: Pick<ModelConfig, 'NH' | 'NKV' | 'HS'>,
): Call[] {
  const tensors = [dO, delta, lse, q, k, v];
  const params = (stride: number): Param[] => [B, TQ, TK, offset, stride, NH * HS, (NH + NKV) * HS, NH, NKV, HS];
  // Half of the pairs are seen; each costs an exp besides its products. Twice what SwiftShader takes, since a GPU likes this less than it likes a linear.
  const cost = (products: number): number => B * TQ * TK * NH * (products * 2 * HS + 54);
  return [
    {
      kernel: 'attention_backward_delta',
      overrides: { NH, HS },
      tensors: [delta, dO, o],
      params: [B * TQ],
      grid: groups(B * TQ * NH, 32),
      flops: SLOW * 2 * B * TQ * NH * HS,
    },
    {
      kernel: 'attention_backward_dq',
      tensors: [dq, ...tensors],
      params: params(last(dq)),
      grid: groups((B * up(TQ, 8) * NH) / 8, 32),
      flops: cost(3),
    },
    {
      kernel: 'attention_backward_dkv',
      tensors: [dkv, ...tensors],
      params: params(last(dkv)),
      grid: groups((B * up(TK, 8) * NKV) / 8, 32),
      flops: cost(5),
    },
  ];
}

/** dgu (M, 2 F) = [dgate, dup] of dh, gate, up (M, F); then dh is overwritten by h. */
export function swigluBackward(dgu: Tensor, dh: Tensor, gate: Tensor, upward: Tensor): Call {
  const [M, F] = gate.shape;
  return {
    kernel: 'swiglu_backward',
    overrides: { F },
    tensors: [dgu, dh, gate, upward],
    params: [M],
    grid: groups((M * F) / 4, 32),
    flops: SLOW * 14 * M * F,
  };
}

/** Positions of a batch by token, as embed_backward wants them: a host's `tokenRuns` uploaded. */
export interface TokenRuns {
  readonly order: Tensor;
  readonly starts: Tensor;
  readonly ids: Tensor;
}
/** dTable (V, C) += dy (M, C) at each position's token; one call a shard. */
export function embedBackward(dTable: Matrix, dy: Tensor, { order, starts, ids }: TokenRuns): Call[] {
  const [M, C] = dy.shape;
  return dTable.map(({ tensor, first }) => ({
    kernel: 'embed_backward',
    overrides: { C },
    tensors: [tensor, dy, order, starts, ids],
    params: [M, first, tensor.shape[0]],
    grid: groups((M * C) / 4, 32),
    flops: SLOW * 2 * M * C,
  }));
}
/** Positions grouped by token: `order` (M) with those of one token together and rising, `starts` (M + 1) of each group, its `ids` (M), 0xffffffff past the last. */
export function tokenRuns(tokens: Uint32Array): { order: Uint32Array; starts: Uint32Array; ids: Uint32Array } {
  const M = tokens.length;
  const order = Uint32Array.from({ length: M }, (_, i) => i).sort((a, b) => tokens[a] - tokens[b] || a - b);
  const starts = new Uint32Array(M + 1).fill(M);
  const ids = new Uint32Array(M).fill(0xffffffff);
  let runs = 0;
  order.forEach((position, i) => {
    if (i > 0 && tokens[position] === tokens[order[i - 1]]) return;
    starts[runs] = i;
    ids[runs++] = tokens[position];
  });
  return { order, starts, ids };
}

/** The loss of one chunk of labelled rows, and its gradient. logits (M, V rounded up to 4) become their gradient; losses, lse (M) and partial (M, PIECES, 2)
 *  are scratch; targets (M) i32, -1 for a row that does not count; report[0] += the chunk's loss; micro[2] holds the bits of 1 / targets of the step. */
export function crossEntropy(
  report: Tensor,
  logits: Tensor,
  losses: Tensor,
  lse: Tensor,
  partial: Tensor,
  targets: Tensor,
  micro: Tensor,
  V: number,
): Call[] {
  const [M, stride] = logits.shape;
  return [
    {
      kernel: 'log_sum_exp',
      tensors: [partial, logits],
      params: [M, V, stride, PIECES],
      grid: groups(M * PIECES, 64),
      flops: 2 * SLOW * 2 * M * V,
    },
    { kernel: 'cross_entropy_lse', tensors: [lse, partial], params: [M, PIECES], grid: groups(M, 32), flops: SLOW * 4 * M * PIECES },
    {
      kernel: 'cross_entropy_backward',
      tensors: [logits, losses, lse, targets, micro],
      params: [M, V, stride],
      grid: groups((M * stride) / 4, 64),
      flops: SLOW * 6 * M * V,
    },
    { kernel: 'loss_sum', tensors: [report, losses, micro], params: [M], grid: [1], flops: SLOW * 50 * M },
  ];
}

/** Threads that share one buffer of gradients in sum_of_squares: a multiple of 4. */
export function normThreads(gradients: Pick<Tensor, 'shape'>): number {
  return Math.min(1024, up(Math.ceil(elements(gradients.shape) / 64), 4));
}
/** report[1] = the norm of all gradients together, report[2] = what they are multiplied by; `partial` has normThreads(g) numbers for each g. */
export function clip(report: Tensor, partial: Tensor, gradients: readonly Tensor[], options: Tensor): Call[] {
  let at = 0;
  const calls = gradients.map((g): Call => {
    const threads = normThreads(g);
    const n = elements(g.shape);
    const call = {
      kernel: 'sum_of_squares',
      tensors: [partial, g],
      params: [n, threads, at],
      grid: groups(threads, 32),
      flops: SLOW * 2 * n,
    };
    at += threads;
    return call;
  });
  return [...calls, { kernel: 'clip_coefficient', tensors: [report, partial, options], params: [at], grid: [1], flops: SLOW * 50 * at }];
}

/** AdamW on all numbers (N, a multiple of 4) of one buffer; `options` as optionNumbers of train.ts has them. Clears g. */
export function adamwStep(w: Tensor, m: Tensor, v: Tensor, g: Tensor, report: Tensor, options: Tensor, decay: boolean): Call {
  const n = elements(w.shape);
  return {
    kernel: 'adamw_step',
    tensors: [w, m, v, g, report, options],
    params: [n, decay ? 1 : 0],
    grid: groups(n / 4, 64),
    flops: SLOW * 16 * n,
  };
}
