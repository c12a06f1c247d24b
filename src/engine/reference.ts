// The kernels of the engine in plain TypeScript: slow, obvious, the standard that every WGSL kernel is tested against. A kernel `rmsnorm_backward` is the
// function `rmsnormBackward` here. Arrays are row-major, slowest axis first. Arguments: outputs, what is saved for backward, inputs, weights, numbers.
// Forward functions write their outputs; gradients are added to (`+=`). Sums run in double precision whatever the arrays hold.
import type { AdamW, ModelConfig } from './types.ts';

/** Numbers of one precision: Float64Array where a test takes finite differences, Float32Array where it compares with the GPU. */
export type Reals = Float32Array | Float64Array;

/** y[m] = table[tokens[m]]: y (M, C), tokens (M), table (V, C). */
export function embedForward(y: Reals, tokens: Uint32Array, table: Reals, M: number, C: number): void {
  for (let m = 0; m < M; m++) for (let c = 0; c < C; c++) y[m * C + c] = table[tokens[m] * C + c];
}

/** dTable[tokens[m]] += dy[m]: dTable (V, C), dy (M, C). */
export function embedBackward(dTable: Reals, dy: Reals, tokens: Uint32Array, M: number, C: number): void {
  for (let m = 0; m < M; m++) for (let c = 0; c < C; c++) dTable[tokens[m] * C + c] += dy[m * C + c];
}

/** y = x * rstd * w, rstd = 1 / sqrt(mean(x^2) + eps): y, x (M, C); rstd (M); w (C). Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4. */
export function rmsnormForward(y: Reals, rstd: Reals, x: Reals, w: Reals, M: number, C: number, eps: number): void {
  for (let m = 0; m < M; m++) {
    let sum = 0;
    for (let c = 0; c < C; c++) sum += x[m * C + c] * x[m * C + c];
    const r = 1 / Math.sqrt(sum / C + eps);
    rstd[m] = r;
    for (let c = 0; c < C; c++) y[m * C + c] = x[m * C + c] * r * w[c];
  }
}

/** dx += rstd * (w dy - x rstd^2 mean(w dy x)), dw += sum_m dy x rstd. `dw` undefined where the gain is frozen. */
export function rmsnormBackward(dx: Reals, dw: Reals | undefined, dy: Reals, x: Reals, rstd: Reals, w: Reals, M: number, C: number): void {
  for (let m = 0; m < M; m++) {
    const r = rstd[m];
    let dot = 0;
    for (let c = 0; c < C; c++) dot += w[c] * dy[m * C + c] * x[m * C + c];
    for (let c = 0; c < C; c++) {
      const i = m * C + c;
      dx[i] += r * (w[c] * dy[i] - (x[i] * r * r * dot) / C);
      if (dw !== undefined) dw[c] += dy[i] * x[i] * r;
    }
  }
}

/** y = x w^T: y (M, N), x (M, K), w (N, K). */
export function linearForward(y: Reals, x: Reals, w: Reals, M: number, K: number, N: number): void {
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x[m * K + k] * w[n * K + k];
      y[m * N + n] = sum;
    }
  }
}

/** dx += dy w: dx (M, K), dy (M, N), w (N, K). */
export function linearBackwardInput(dx: Reals, dy: Reals, w: Reals, M: number, K: number, N: number): void {
  for (let m = 0; m < M; m++) {
    for (let k = 0; k < K; k++) {
      let sum = 0;
      for (let n = 0; n < N; n++) sum += dy[m * N + n] * w[n * K + k];
      dx[m * K + k] += sum;
    }
  }
}

/** dw += dy^T x: dw (N, K), dy (M, N), x (M, K). */
export function linearBackwardWeight(dw: Reals, dy: Reals, x: Reals, M: number, K: number, N: number): void {
  for (let n = 0; n < N; n++) {
    for (let k = 0; k < K; k++) {
      let sum = 0;
      for (let m = 0; m < M; m++) sum += dy[m * N + n] * x[m * K + k];
      dw[n * K + k] += sum;
    }
  }
}

/** y += scale * h B^T, h = (keep * x) A^T: y (M, N), h (M, R), x and keep (M, K), A (R, K), B (N, R). `keep` is dropout's multipliers (`dropoutKeep`),
 *  undefined for none. Hu et al. 2021, arXiv:2106.09685, eq. 3. */
export function loraForward(
  y: Reals,
  h: Reals,
  x: Reals,
  A: Reals,
  B: Reals,
  scale: number,
  M: number,
  K: number,
  N: number,
  R: number,
  keep?: Reals,
): void {
  for (let m = 0; m < M; m++) {
    for (let r = 0; r < R; r++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x[m * K + k] * (keep === undefined ? 1 : keep[m * K + k]) * A[r * K + k];
      h[m * R + r] = sum;
    }
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let r = 0; r < R; r++) sum += h[m * R + r] * B[n * R + r];
      y[m * N + n] += scale * sum;
    }
  }
}

/** With dh = scale * dy B (M, R): dx += keep * (dh A), dA += dh^T (keep * x), dB += scale * dy^T h. */
export function loraBackward(
  dx: Reals,
  dA: Reals,
  dB: Reals,
  dy: Reals,
  h: Reals,
  x: Reals,
  A: Reals,
  B: Reals,
  scale: number,
  M: number,
  K: number,
  N: number,
  R: number,
  keep?: Reals,
): void {
  const dh = new Float64Array(R);
  for (let m = 0; m < M; m++) {
    dh.fill(0);
    for (let n = 0; n < N; n++) {
      for (let r = 0; r < R; r++) {
        dh[r] += scale * dy[m * N + n] * B[n * R + r];
        dB[n * R + r] += scale * dy[m * N + n] * h[m * R + r];
      }
    }
    for (let k = 0; k < K; k++) {
      const kept = keep === undefined ? 1 : keep[m * K + k];
      let sum = 0;
      for (let r = 0; r < R; r++) {
        sum += dh[r] * A[r * K + k];
        dA[r * K + k] += dh[r] * x[m * K + k] * kept;
      }
      dx[m * K + k] += sum * kept;
    }
  }
}

/** Radians a position for each of the HS / 2 pairs: theta^(-2i / HS), then Llama 3's stretching of the slow ones or a GGUF's divisors.
 *  Su et al. 2021, arXiv:2104.09864, eq. 15; Llama 3: `_compute_llama3_parameters` of transformers' modeling_rope_utils.py. */
export function ropeFrequencies(config: Pick<ModelConfig, 'HS' | 'ropeTheta' | 'ropeScaling'>): Float64Array {
  const { HS, ropeTheta, ropeScaling } = config;
  return Float64Array.from({ length: HS / 2 }, (_, i) => {
    const frequency = ropeTheta ** ((-2 * i) / HS);
    if (ropeScaling === undefined) return frequency;
    if ('divisors' in ropeScaling) return frequency / ropeScaling.divisors[i];
    const { factor, lowFreqFactor, highFreqFactor, originalContext } = ropeScaling;
    const turns = (originalContext * frequency) / (2 * Math.PI); // of this pair within the context the model was first trained on
    if (turns < lowFreqFactor) return frequency / factor;
    if (turns > highFreqFactor) return frequency;
    const smooth = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

/** Rotates x (B, T, heads, HS) in place: row t stands at position offset + t, element i of a head pairs with i + HS / 2 (Hugging Face's order). */
export function ropeForward(x: Reals, frequencies: Reals, B: number, T: number, heads: number, HS: number, offset: number): void {
  rotate(x, frequencies, B, T, heads, HS, offset, 1);
}

/** The gradient of ropeForward, in place: the opposite rotation. */
export function ropeBackward(dx: Reals, frequencies: Reals, B: number, T: number, heads: number, HS: number, offset: number): void {
  rotate(dx, frequencies, B, T, heads, HS, offset, -1);
}

function rotate(x: Reals, frequencies: Reals, B: number, T: number, heads: number, HS: number, offset: number, sign: 1 | -1): void {
  const half = HS / 2;
  for (let b = 0; b < B; b++) {
    for (let t = 0; t < T; t++) {
      for (let head = 0; head < heads; head++) {
        const at = ((b * T + t) * heads + head) * HS;
        for (let i = 0; i < half; i++) {
          const angle = (offset + t) * frequencies[i];
          const cos = Math.cos(angle);
          const sin = sign * Math.sin(angle);
          const a = x[at + i];
          const c = x[at + i + half];
          x[at + i] = a * cos - c * sin;
          x[at + i + half] = c * cos + a * sin;
        }
      }
    }
  }
}

/** TQ queries against TK keys: query i stands at position offset + i, key j at j; a query sees keys up to its own position. */
export interface AttentionShape {
  readonly B: number;
  readonly TQ: number;
  readonly TK: number;
  readonly NH: number;
  readonly NKV: number;
  readonly HS: number;
  readonly offset: number;
}

/** o = softmax(q k^T / sqrt(HS)) v, causal, head h reading key-value head floor(h / (NH / NKV)): o, q (B, TQ, NH, HS); k, v (B, TK, NKV, HS);
 *  lse (B, TQ, NH), the log of the sum of exp of the scaled scores. Vaswani et al. 2017, arXiv:1706.03762, eq. 1; Ainslie et al. 2023, arXiv:2305.13245. */
export function attentionForward(o: Reals, lse: Reals, q: Reals, k: Reals, v: Reals, shape: AttentionShape): void {
  const { HS } = shape;
  forEachQuery(shape, (query, keys) => {
    const scores = keys.map((key) => dot(q, query * HS, k, key, HS) / Math.sqrt(HS));
    const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
    const sum = scores.reduce((a, s) => a + Math.exp(s - max), 0);
    lse[query] = max + Math.log(sum);
    for (let e = 0; e < HS; e++) {
      let value = 0;
      keys.forEach((key, j) => {
        value += (Math.exp(scores[j] - max) / sum) * v[key + e];
      });
      o[query * HS + e] = value;
    }
  });
}

/** With p = exp(score - lse) and D = sum(dO o): dv += p dO, ds = p (dO v - D), dq += ds k / sqrt(HS), dk += ds q / sqrt(HS). Dao 2023, arXiv:2307.08691. */
export function attentionBackward(
  dq: Reals,
  dk: Reals,
  dv: Reals,
  dO: Reals,
  o: Reals,
  lse: Reals,
  q: Reals,
  k: Reals,
  v: Reals,
  shape: AttentionShape,
): void {
  const { HS } = shape;
  const scale = 1 / Math.sqrt(HS);
  forEachQuery(shape, (query, keys) => {
    const at = query * HS;
    const D = dot(dO, at, o, at, HS);
    for (const key of keys) {
      const p = Math.exp(dot(q, at, k, key, HS) * scale - lse[query]);
      const ds = p * (dot(dO, at, v, key, HS) - D) * scale;
      for (let e = 0; e < HS; e++) {
        dv[key + e] += p * dO[at + e];
        dq[at + e] += ds * k[key + e];
        dk[key + e] += ds * q[at + e];
      }
    }
  });
}

/** Calls back with each query's row in (B, TQ, NH) and the places of its keys' first elements in (B, TK, NKV, HS), oldest first. */
function forEachQuery(shape: AttentionShape, visit: (query: number, keys: readonly number[]) => void): void {
  const { B, TQ, TK, NH, NKV, HS, offset } = shape;
  for (let b = 0; b < B; b++) {
    for (let i = 0; i < TQ; i++) {
      for (let head = 0; head < NH; head++) {
        const group = Math.floor(head / (NH / NKV));
        const keys = Array.from({ length: Math.min(TK, offset + i + 1) }, (_, j) => ((b * TK + j) * NKV + group) * HS);
        visit((b * TQ + i) * NH + head, keys);
      }
    }
  }
}

function dot(a: Reals, atA: number, b: Reals, atB: number, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += a[atA + i] * b[atB + i];
  return sum;
}

/** h = silu(gate) * up over n numbers, silu(g) = g / (1 + exp(-g)). Shazeer 2020, arXiv:2002.05202, eq. 6. */
export function swigluForward(h: Reals, gate: Reals, up: Reals, n: number): void {
  for (let i = 0; i < n; i++) h[i] = (gate[i] / (1 + Math.exp(-gate[i]))) * up[i];
}

/** dgate += dh up s (1 + gate (1 - s)), dup += dh gate s, s = sigmoid(gate). */
export function swigluBackward(dgate: Reals, dup: Reals, dh: Reals, gate: Reals, up: Reals, n: number): void {
  for (let i = 0; i < n; i++) {
    const s = 1 / (1 + Math.exp(-gate[i]));
    dgate[i] += dh[i] * up[i] * s * (1 + gate[i] * (1 - s));
    dup[i] += dh[i] * gate[i] * s;
  }
}

/** losses[m] = lse[m] - logit[m, targets[m]], 0 where the target is -1: losses, lse, targets (M); hidden (M, C); head (V, C). lse is written at every row. */
export function crossEntropyForward(
  losses: Reals,
  lse: Reals,
  hidden: Reals,
  head: Reals,
  targets: Int32Array,
  M: number,
  C: number,
  V: number,
): void {
  const logits = new Float64Array(V);
  for (let m = 0; m < M; m++) {
    let max = -Infinity;
    for (let v = 0; v < V; v++) {
      logits[v] = dot(hidden, m * C, head, v * C, C);
      max = Math.max(max, logits[v]);
    }
    let sum = 0;
    for (let v = 0; v < V; v++) sum += Math.exp(logits[v] - max);
    lse[m] = max + Math.log(sum);
    losses[m] = targets[m] < 0 ? 0 : max + Math.log(sum) - logits[targets[m]];
  }
}

/** With dlogit = scale * (exp(logit - lse) - [v is the target]), rows without a target left out: dHidden += dlogit head, dHead += dlogit^T hidden. */
export function crossEntropyBackward(
  dHidden: Reals,
  dHead: Reals | undefined,
  hidden: Reals,
  head: Reals,
  lse: Reals,
  targets: Int32Array,
  scale: number,
  M: number,
  C: number,
  V: number,
): void {
  for (let m = 0; m < M; m++) {
    if (targets[m] < 0) continue;
    for (let v = 0; v < V; v++) {
      const dlogit = scale * (Math.exp(dot(hidden, m * C, head, v * C, C) - lse[m]) - (v === targets[m] ? 1 : 0));
      for (let c = 0; c < C; c++) {
        dHidden[m * C + c] += dlogit * head[v * C + c];
        if (dHead !== undefined) dHead[v * C + c] += dlogit * hidden[m * C + c];
      }
    }
  }
}

/** One round of PCG's output function over a 32-bit word: the same bits in WGSL. Jarzynski & Olano 2020, JCGT 9(3), "Hash Functions for GPU Rendering". */
export function pcg(v: number): number {
  const s = (Math.imul(v, 747796405) + 2891336453) >>> 0;
  const w = Math.imul((s >>> ((s >>> 28) + 4)) ^ s, 277803737) >>> 0;
  return ((w >>> 22) ^ w) >>> 0;
}

/** Words below this are dropped: a u32, so that the comparison is exact in WGSL too. `rate` is 0 to below 1. */
export function dropoutThreshold(rate: number): number {
  return Math.ceil(rate * 2 ** 32);
}

/** The multiplier of one number under inverted dropout: 0, or 1 / (1 - rate). `counter` counts micro-batches since the start of the fit; `site` is
 *  layer * 7 + the linear's place in [q, k, v, o, gate, up, down]; `index` is row * K + column of the linear's input. Srivastava et al. 2014. */
export function dropoutKeep(seed: number, counter: number, site: number, index: number, rate: number): number {
  const word = pcg((index ^ pcg(counter ^ pcg(site ^ pcg(seed >>> 0)))) >>> 0);
  return word >= dropoutThreshold(rate) ? 1 / (1 - rate) : 0;
}

export function sumOfSquares(g: Reals): number {
  let sum = 0;
  for (let i = 0; i < g.length; i++) sum += g[i] * g[i];
  return sum;
}

/** What gradients are multiplied by, so that their norm is at most `clipNorm` (0: no clipping). As torch.nn.utils.clip_grad_norm_. */
export function clipCoefficient(norm: number, clipNorm: number): number {
  return clipNorm > 0 ? Math.min(1, clipNorm / (norm + 1e-6)) : 1;
}

/** Step number `step` (from 1) on w (n) with moments m and v (n), gradient coefficient * g. `decay` false for tensors without weight decay.
 *  torch.optim.AdamW; Loshchilov & Hutter 2017, arXiv:1711.05101, alg. 2. */
export function adamwStep(w: Reals, m: Reals, v: Reals, g: Reals, step: number, options: AdamW, coefficient: number, decay: boolean): void {
  const { lr, beta1, beta2, eps, weightDecay } = options;
  const correction1 = 1 - beta1 ** step;
  const correction2 = 1 - beta2 ** step;
  for (let i = 0; i < w.length; i++) {
    const gradient = g[i] * coefficient;
    if (decay) w[i] -= lr * weightDecay * w[i];
    m[i] = beta1 * m[i] + (1 - beta1) * gradient;
    v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient;
    w[i] -= ((lr / correction1) * m[i]) / (Math.sqrt(v[i] / correction2) + eps);
  }
}
