// The kernels that a step of generation has of its own, as a plan records them.
import { type LowRankSite, type Matrix, PIECES, regionOf } from './calls.ts';
import type { Call, Gpu } from './gpu.ts';
import type { ModelConfig, Sampling, Tensor } from './types.ts';

/** What a column of one row costs, in flops as plans count them: a scattered read and a comparison; in each of the passes of top-k and top-p, 16 cuts. */
const READ_FLOPS = 4;
const DRAW_FLOPS = 250;

/** Keys of one thread of attention_decode. */
const SPAN = 64;
/** exp and scattered reads against multiply-adds of a register tile. */
const SLOW = 4;
/** Threads that a cache of TK keys gives each head of a row in attention_decode. */
export function decodeSpans(TK: number): number {
  return Math.ceil(TK / SPAN);
}
/** Of B rows in attention_decode: (B, NH, spans, HS + 4). */
export function decodeScratch(B: number, TK: number, { NH, HS }: ModelConfig): readonly number[] {
  return [B, NH, decodeSpans(TK), HS + 4];
}

/** A row's keys and values, (slots, TK, NKV * HS), of one layer, and scratch (`decodeScratch`). */
export interface DecodeCache {
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly partial: Tensor;
}
/** o (B, NH * HS): one query a row, q (B, NH * HS), against the row's cache and its own k and v (B, NKV * HS), which go into the cache; q and k not rotated yet. */
export function attentionDecode(
  o: Tensor,
  { keys, values, partial }: DecodeCache,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  angles: Tensor,
  rows: Tensor,
  config: ModelConfig,
): Call[] {
  const { NH, NKV, HS } = config;
  const B = q.shape[0];
  const TK = keys.shape[1];
  const spans = decodeSpans(TK);
  const scratch = { ...partial, shape: decodeScratch(B, TK, config) };
  const params = [B, TK, spans, SPAN];
  return [
    {
      kernel: 'attention_decode',
      overrides: { NH, NKV },
      constants: { HS },
      tensors: [scratch, keys, values, q, k, v, angles, rows],
      params,
      grid: [Math.ceil((B * NH * spans) / 32)],
      flops: SLOW * 4 * B * TK * NH * HS,
    },
    {
      kernel: 'attention_decode_merge',
      overrides: { NH, HS },
      tensors: [o, scratch, rows],
      params,
      grid: [Math.ceil((B * NH * HS) / 4 / 64)],
      flops: SLOW * 2 * B * spans * NH * HS,
    },
  ];
}

/** Rows up to which the linears of one input share a dispatch: with more of them, each fills the device by itself. */
const FEW = 2;
/** The storage that some matrices have in common, each in one shard; else undefined. */
function commonStorage(matrices: readonly Matrix[]): string | undefined {
  const [{ dtype }] = matrices[0].map(({ tensor }) => tensor);
  return matrices.every((shards) => shards.length === 1 && shards[0].tensor.dtype === dtype) ? dtype : undefined;
}
const outputs = (w: Matrix): number => w[0].tensor.shape[0];

/** Low-rank parts of linears that share a call, undefined for one that has none; h (M, ranks) of their group, and every site's scale times strength. */
export interface LowRankTogether {
  readonly sites: readonly (LowRankSite | undefined)[];
  readonly h: Tensor;
  readonly scales: Tensor;
}
/** Bindings 8 to 10 and the Sites of `Params`, where there are parts. */
function partsOf(parts: LowRankTogether | undefined): { lora: string; tensors: Tensor[]; sites: number[]; ranks4: number } {
  const own = parts?.sites.filter((site) => site !== undefined) ?? [];
  if (parts === undefined || own.length === 0) return { lora: '', tensors: [], sites: [], ranks4: 0 };
  const B = regionOf(own.map((site) => site.B));
  const sites = parts.sites.flatMap((s) => (s === undefined ? [0, 0, 0, 0] : [s.rank, s.hidden / 4, (s.B.offset - B.offset) / 4, s.index]));
  return { lora: '_lora', tensors: [parts.h, B, parts.scales], sites, ranks4: parts.h.shape[1] / 4 };
}
/** Whether a call that shares three linears may have parts too: WebGPU's default is 8 tensors a call, most devices have more. */
export const TENSORS_OF_THREE = 10;

/** y = x w^T of three linears, (M, N) = (M, K) (N, K), each with its part, in one call; undefined where they cannot share one. The same bits as of
 *  linearForward. */
export function linearForwardThree(
  ys: readonly [Tensor, Tensor, Tensor],
  x: Tensor,
  ws: readonly [Matrix, Matrix, Matrix],
  parts?: LowRankTogether,
): Call | undefined {
  const [M, K] = x.shape;
  const storage = commonStorage(ws);
  const widths = ws.map(outputs);
  if (storage === undefined || M > FEW || widths.some((n) => n % 4 !== 0)) return undefined;
  const [w, w1, w2] = ws.map((shards) => shards[0].tensor);
  const all = widths.reduce((sum, n) => sum + n, 0);
  const { lora, tensors, sites, ranks4 } = partsOf(parts);
  return {
    kernel: `linear_forward_three${lora}_${storage}`,
    overrides: { K },
    tensors: [ys[0], x, w, w1, w2, ys[1], ys[2], ...tensors],
    params: [...widths, ranks4, 0, 0, 0, ...sites], // Sites begin at a multiple of 16 bytes
    grid: [Math.ceil(all / 4 / 32), M],
    flops: 3 * 2 * M * K * all,
  };
}
/** y = silu(x gate^T) * (x up^T) in one call, as above. */
export function linearForwardSwiglu(y: Tensor, x: Tensor, gate: Matrix, up: Matrix, parts?: LowRankTogether): Call | undefined {
  const [M, K] = x.shape;
  const storage = commonStorage([gate, up]);
  const N = outputs(gate);
  if (storage === undefined || M > FEW || N % 4 !== 0) return undefined;
  const { lora, tensors, sites, ranks4 } = partsOf(parts);
  return {
    kernel: `linear_forward_swiglu${lora}_${storage}`,
    overrides: { K },
    tensors: [y, x, gate[0].tensor, up[0].tensor, ...(lora === '' ? [] : [undefined, undefined, undefined, ...tensors])],
    params: [N, ranks4, 0, ...sites],
    grid: [Math.ceil(N / 4 / 32), M],
    flops: 3 * 4 * M * K * N,
  };
}

/** What a step of R rows ends in: their next input `tokens` (R) and its place `rows` (R, 2), one position further; `history` (S, R), the tokens of each step;
 *  `draws` (R, 4) u32, see `drawsOf`; `value` and `id` (R, PIECES) are scratch. */
export interface StepEnd {
  readonly tokens: Tensor;
  readonly rows: Tensor;
  readonly history: Tensor;
  readonly draws: Tensor;
  readonly value: Tensor;
  readonly id: Tensor;
}

/** The token of each row is that of its largest logit, the lowest id among equals. logits (R, stride), V columns of which count. */
export function takeLargest({ tokens, rows, history, draws, value, id }: StepEnd, logits: Tensor, V: number): Call[] {
  const [R] = logits.shape;
  return [
    argmax(value, id, logits, V),
    {
      kernel: 'decode_advance',
      tensors: [tokens, rows, history, draws, value, id],
      params: [R, PIECES],
      grid: [Math.ceil(R / 64)],
      flops: READ_FLOPS * R * PIECES,
    },
  ];
}

/** The token of each row is drawn by `options` (4), see `optionNumbers`, with `threads` to a row. logits as above. */
export function drawToken(
  { tokens, rows, history, draws, value, id }: StepEnd,
  logits: Tensor,
  options: Tensor,
  V: number,
  threads: number,
): Call[] {
  const [R, stride] = logits.shape;
  return [
    argmax(value, id, logits, V),
    {
      kernel: 'sample_token',
      overrides: { WG: threads },
      tensors: [tokens, rows, history, draws, value, logits, options],
      params: [R, V, stride, PIECES],
      grid: [R],
      flops: DRAW_FLOPS * R * V,
    },
  ];
}

/** value and id (R, PIECES): the largest logit among every PIECES-th column. */
function argmax(value: Tensor, id: Tensor, logits: Tensor, V: number): Call {
  const [R, stride] = logits.shape;
  return {
    kernel: 'argmax',
    tensors: [value, id, logits],
    params: [R, V, stride, PIECES],
    grid: [Math.ceil((R * PIECES) / 64)],
    flops: READ_FLOPS * R * V,
  };
}

/** The numbers of `options`. */
export function optionNumbers({ temperature, topK, topP }: Pick<Sampling, 'temperature' | 'topK' | 'topP'>): Float32Array {
  return Float32Array.of(temperature, topK, topP, 0);
}
/** The numbers of `draws` before a run: each row's seed and the tokens that it has drawn. */
export function drawsOf(rows: readonly { readonly seed: number; readonly drawn: number }[]): Uint32Array {
  return Uint32Array.from(rows.flatMap(({ seed, drawn }) => [seed, drawn, 0, 0]));
}

/** Threads of sample_token to a row. SwiftShader runs four in a register, and makes a coroutine of each such four where there are barriers. */
export function drawThreads({ name }: Pick<Gpu, 'name'>): number {
  return /swiftshader|llvmpipe/i.test(name) ? 4 : 64;
}
