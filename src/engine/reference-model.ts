// The whole network in plain TypeScript: one token down, one gradient back up, with the kernels of reference.ts.
import { AppError } from '../lib/error.ts';
import {
  attentionBackward,
  attentionForward,
  crossEntropyBackward,
  crossEntropyForward,
  dropoutKeep,
  embedBackward,
  embedForward,
  linearBackwardInput,
  linearBackwardWeight,
  linearForward,
  loraBackward,
  loraForward,
  type Reals,
  rmsnormBackward,
  rmsnormForward,
  ropeBackward,
  ropeForward,
  ropeFrequencies,
  swigluBackward,
  swigluForward,
} from './reference.ts';
import type { Batch, Linear, ModelConfig, PartOf } from './types.ts';

/** A tensor in host memory in either precision; a HostTensor is one. */
export interface ReferenceTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Reals;
}
export type ReferencePart = PartOf<ReferenceTensor>;
type LowRank = Extract<ReferencePart, { kind: 'low-rank' }>;

/** Dropout on the inputs of low-rank parts; `counter` counts micro-batches since the start of the fit. */
export interface ReferenceDropout {
  readonly dropout: number;
  readonly seed: number;
  readonly counter: number;
}

export interface ReferenceModel {
  readonly config: ModelConfig;
  /** All logits, (B, T, V). */
  logits(tokens: Uint32Array, shape: readonly [B: number, T: number], parts?: readonly ReferencePart[], strength?: number): Reals;
  /** Log-probability (nats) of each token given those before it: (B, T); column 0 is 0. */
  score(tokens: Uint32Array, shape: readonly [B: number, T: number], parts?: readonly ReferencePart[], strength?: number): Reals;
  /** Summed cross-entropy / targetsOfStep, and its gradient by the names of the parts' tensors. */
  lossAndGradients(
    batch: Batch,
    parts: readonly ReferencePart[],
    targetsOfStep: number,
    dropout?: ReferenceDropout,
  ): { readonly loss: number; readonly gradients: ReadonlyMap<string, Reals> };
  /** The ids after `prompt`, largest logit first, the lowest id among equals; a stop id comes last. */
  greedy(
    prompt: Uint32Array,
    maxTokens: number,
    stopIds: readonly number[],
    parts?: readonly ReferencePart[],
    strength?: number,
  ): Uint32Array;
}

export const LINEARS: readonly Linear[] = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
/** The Hugging Face module of a linear: `model.layers.3.self_attn.q_proj`. */
export function linearModule(layer: number, linear: Linear): string {
  return `model.layers.${layer}.${LINEARS.indexOf(linear) < 4 ? 'self_attn' : 'mlp'}.${linear}`;
}

/** What forward keeps of a low-rank part for backward: the dropout multipliers and h = dropped(x) A^T. */
interface LowRankSaved {
  readonly part: LowRank;
  readonly h: Reals;
  readonly keep: Reals | undefined;
}
/** What forward keeps of a layer, by the names of forward(). */
interface LayerSaved {
  readonly x: Reals;
  readonly rstd1: Reals;
  readonly xn1: Reals;
  readonly q: Reals;
  readonly k: Reals;
  readonly v: Reals;
  readonly o: Reals;
  readonly lse: Reals;
  readonly x2: Reals;
  readonly rstd2: Reals;
  readonly xn2: Reals;
  readonly gate: Reals;
  readonly up: Reals;
  readonly h: Reals;
}
interface Saved {
  readonly layers: LayerSaved[];
  readonly lowRank: Map<string, LowRankSaved[]>;
  readonly x: Reals;
  readonly rstd: Reals;
  readonly hidden: Reals;
}

/** A network whose activations have the precision of its weights. Weights by Hugging Face name; a tied model needs no `lm_head.weight`.
 *  @throws 'engine/part-unsupported' from calls with parts other than low-rank (without magnitude) and weights */
export function referenceModel(
  config: ModelConfig,
  weights: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Reals }>,
): ReferenceModel {
  const { C, L, NH, NKV, HS, F, V } = config;
  const double = weights.get('model.norm.weight')?.data instanceof Float64Array;
  const zeros = (n: number): Reals => (double ? new Float64Array(n) : new Float32Array(n));
  const frequencies = ropeFrequencies(config);
  const headName = config.tied ? 'model.embed_tokens.weight' : 'lm_head.weight';
  const sizes: Record<Linear, readonly [K: number, N: number]> = {
    q_proj: [C, NH * HS],
    k_proj: [C, NKV * HS],
    v_proj: [C, NKV * HS],
    o_proj: [NH * HS, C],
    gate_proj: [C, F],
    up_proj: [C, F],
    down_proj: [F, C],
  };

  function forward(
    tokens: Uint32Array,
    [B, T]: readonly [number, number],
    parts: readonly ReferencePart[],
    strength: number,
    dropout?: ReferenceDropout,
  ): Saved {
    const M = B * T;
    const weight = reader(weights, parts);
    const lowRank = new Map<string, LowRankSaved[]>();

    function linear(layer: number, name: Linear, x: Reals): Reals {
      const [K, N] = sizes[name];
      const y = zeros(M * N);
      linearForward(y, x, weight(`${linearModule(layer, name)}.weight`), M, K, N);
      const site = layer * 7 + LINEARS.indexOf(name);
      const saved = lowRankAt(parts, layer, name).map((part): LowRankSaved => {
        const R = part.A.shape[0];
        const h = zeros(M * R);
        const keep = dropout === undefined || dropout.dropout === 0 ? undefined : zeros(M * K);
        keep?.forEach((_, i) => {
          keep[i] = dropoutKeep(dropout!.seed, dropout!.counter, site, i, dropout!.dropout);
        });
        loraForward(y, h, x, part.A.data, part.B.data, part.scale * strength, M, K, N, R, keep);
        return { part, h, keep };
      });
      lowRank.set(`${layer} ${name}`, saved);
      return y;
    }

    let x = zeros(M * C);
    embedForward(x, tokens, weight('model.embed_tokens.weight'), M, C);
    const layers: LayerSaved[] = [];
    for (let l = 0; l < L; l++) {
      const rstd1 = zeros(M);
      const xn1 = zeros(M * C);
      rmsnormForward(xn1, rstd1, x, weight(`model.layers.${l}.input_layernorm.weight`), M, C, config.normEps);
      const q = linear(l, 'q_proj', xn1);
      const k = linear(l, 'k_proj', xn1);
      const v = linear(l, 'v_proj', xn1);
      ropeForward(q, frequencies, B, T, NH, HS, 0);
      ropeForward(k, frequencies, B, T, NKV, HS, 0);
      const o = zeros(M * NH * HS);
      const lse = zeros(M * NH);
      attentionForward(o, lse, q, k, v, { B, TQ: T, TK: T, NH, NKV, HS, offset: 0 });
      const x2 = add(x, linear(l, 'o_proj', o));

      const rstd2 = zeros(M);
      const xn2 = zeros(M * C);
      rmsnormForward(xn2, rstd2, x2, weight(`model.layers.${l}.post_attention_layernorm.weight`), M, C, config.normEps);
      const gate = linear(l, 'gate_proj', xn2);
      const up = linear(l, 'up_proj', xn2);
      const h = zeros(M * F);
      swigluForward(h, gate, up, M * F);
      layers.push({ x, rstd1, xn1, q, k, v, o, lse, x2, rstd2, xn2, gate, up, h });
      x = add(x2, linear(l, 'down_proj', h));
    }
    const rstd = zeros(M);
    const hidden = zeros(M * C);
    rmsnormForward(hidden, rstd, x, weight('model.norm.weight'), M, C, config.normEps);
    return { layers, lowRank, x, rstd, hidden };
  }

  function lossAndGradients(
    batch: Batch,
    parts: readonly ReferencePart[],
    targetsOfStep: number,
    dropout?: ReferenceDropout,
  ): { loss: number; gradients: Map<string, Reals> } {
    const [B, T] = batch.shape;
    const M = B * T;
    const saved = forward(batch.tokens, batch.shape, parts, 1, dropout);
    const weight = reader(weights, parts);
    const gradients = new Map<string, Reals>();
    const replaced = new Map<string, Reals>();
    for (const part of parts) {
      if (part.kind === 'weights') {
        const gradient = zeros(part.values.data.length);
        replaced.set(part.name, gradient);
        gradients.set(part.values.name, gradient);
      } else if (part.kind === 'low-rank') {
        for (const tensor of [part.A, part.B]) gradients.set(tensor.name, zeros(tensor.data.length));
      }
    }

    /** Adds to the gradients of a linear's weights and returns dx. */
    function linearBackward(layer: number, name: Linear, dy: Reals, x: Reals): Reals {
      const [K, N] = sizes[name];
      const tensor = `${linearModule(layer, name)}.weight`;
      const dx = zeros(M * K);
      linearBackwardInput(dx, dy, weight(tensor), M, K, N);
      const dw = replaced.get(tensor);
      if (dw !== undefined) linearBackwardWeight(dw, dy, x, M, K, N);
      for (const { part, h, keep } of saved.lowRank.get(`${layer} ${name}`)!) {
        const dA = gradients.get(part.A.name)!;
        const dB = gradients.get(part.B.name)!;
        loraBackward(dx, dA, dB, dy, h, x, part.A.data, part.B.data, part.scale, M, K, N, part.A.shape[0], keep);
      }
      return dx;
    }
    function normBackward(name: string, dy: Reals, x: Reals, rstd: Reals): Reals {
      const dx = zeros(M * C);
      rmsnormBackward(dx, replaced.get(name), dy, x, rstd, weight(name), M, C);
      return dx;
    }

    const losses = zeros(M);
    const lse = zeros(M);
    const head = weight(headName);
    crossEntropyForward(losses, lse, saved.hidden, head, batch.targets, M, C, V);
    const dHidden = zeros(M * C);
    crossEntropyBackward(dHidden, replaced.get(headName), saved.hidden, head, lse, batch.targets, 1 / targetsOfStep, M, C, V);
    let dx = normBackward('model.norm.weight', dHidden, saved.x, saved.rstd);
    for (let l = L - 1; l >= 0; l--) {
      const s = saved.layers[l];
      const dh = linearBackward(l, 'down_proj', dx, s.h);
      const dgate = zeros(M * F);
      const dup = zeros(M * F);
      swigluBackward(dgate, dup, dh, s.gate, s.up, M * F);
      const dxn2 = add(linearBackward(l, 'gate_proj', dgate, s.xn2), linearBackward(l, 'up_proj', dup, s.xn2));
      dx = add(dx, normBackward(`model.layers.${l}.post_attention_layernorm.weight`, dxn2, s.x2, s.rstd2));

      const dO = linearBackward(l, 'o_proj', dx, s.o);
      const dq = zeros(M * NH * HS);
      const dk = zeros(M * NKV * HS);
      const dv = zeros(M * NKV * HS);
      attentionBackward(dq, dk, dv, dO, s.o, s.lse, s.q, s.k, s.v, { B, TQ: T, TK: T, NH, NKV, HS, offset: 0 });
      ropeBackward(dq, frequencies, B, T, NH, HS, 0);
      ropeBackward(dk, frequencies, B, T, NKV, HS, 0);
      const dxn1 = add(
        add(linearBackward(l, 'q_proj', dq, s.xn1), linearBackward(l, 'k_proj', dk, s.xn1)),
        linearBackward(l, 'v_proj', dv, s.xn1),
      );
      dx = add(dx, normBackward(`model.layers.${l}.input_layernorm.weight`, dxn1, s.x, s.rstd1));
    }
    const dTable = replaced.get('model.embed_tokens.weight');
    if (dTable !== undefined) embedBackward(dTable, dx, batch.tokens, M, C);
    return { loss: total(losses) / targetsOfStep, gradients };
  }

  function logits(tokens: Uint32Array, shape: readonly [number, number], parts: readonly ReferencePart[] = [], strength = 1): Reals {
    const M = shape[0] * shape[1];
    const out = zeros(M * V);
    linearForward(out, forward(tokens, shape, parts, strength).hidden, reader(weights, parts)(headName), M, C, V);
    return out;
  }

  function score(tokens: Uint32Array, shape: readonly [number, number], parts: readonly ReferencePart[] = [], strength = 1): Reals {
    const [B, T] = shape;
    const losses = zeros(B * T);
    const targets = Int32Array.from({ length: B * T }, (_, i) => (i % T === T - 1 ? -1 : tokens[i + 1]));
    const { hidden } = forward(tokens, shape, parts, strength);
    crossEntropyForward(losses, zeros(B * T), hidden, reader(weights, parts)(headName), targets, B * T, C, V);
    const out = zeros(B * T);
    for (let i = 0; i < B * T; i++) out[i] = i % T === 0 ? 0 : -losses[i - 1];
    return out;
  }

  function greedy(
    prompt: Uint32Array,
    maxTokens: number,
    stopIds: readonly number[],
    parts: readonly ReferencePart[] = [],
    strength = 1,
  ): Uint32Array {
    const ids = [...prompt];
    const row = zeros(V);
    while (ids.length < prompt.length + maxTokens) {
      const { hidden } = forward(Uint32Array.from(ids), [1, ids.length], parts, strength);
      linearForward(row, hidden.subarray((ids.length - 1) * C), reader(weights, parts)(headName), 1, C, V);
      let best = 0;
      for (let v = 1; v < V; v++) if (row[v] > row[best]) best = v;
      ids.push(best);
      if (stopIds.includes(best)) break;
    }
    return Uint32Array.from(ids.slice(prompt.length));
  }

  return { config, logits, score, lossAndGradients, greedy };
}

function lowRankAt(parts: readonly ReferencePart[], layer: number, linear: Linear): LowRank[] {
  return parts.filter((part): part is LowRank => part.kind === 'low-rank' && part.site.layer === layer && part.site.linear === linear);
}

/** Reads a weight by name: a part's values where one stands in its place, else the base's. */
function reader(weights: ReadonlyMap<string, { readonly data: Reals }>, parts: readonly ReferencePart[]): (name: string) => Reals {
  const replaced = new Map<string, Reals>();
  for (const part of parts) {
    if (part.kind === 'weights') replaced.set(part.name, part.values.data);
    else if (part.kind !== 'low-rank' || part.magnitude !== undefined) throw unsupported(part.kind);
  }
  return (name) => {
    const found = replaced.get(name) ?? weights.get(name)?.data;
    if (found === undefined) throw new AppError('engine/weight-missing', `The model has no tensor named ${name}.`);
    return found;
  };
}

function unsupported(kind: ReferencePart['kind']): AppError {
  const what = kind === 'low-rank' ? 'DoRA, a low-rank part with a magnitude,' : `A part of the kind ${kind}`;
  return new AppError('engine/part-unsupported', `${what} cannot be run yet.`, {
    why: 'This version runs low-rank parts and weights in place of the base.',
    fix: 'Use a LoRA adapter.',
    facts: { kind },
  });
}

function add(a: Reals, b: Reals): Reals {
  const sum = a.slice();
  for (let i = 0; i < sum.length; i++) sum[i] += b[i];
  return sum;
}

function total(x: Reals): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i];
  return sum;
}
