// Shared, dependency-free definitions: model shapes, the PRNG, the weights, the batch.
// Everything here is deterministic, so any contender can rebuild the same problem.

export const CONFIGS = {
  A: { name: 'A', hidden: 64, inter: 172, layers: 5, heads: 8, kvHeads: 4, vocab: 512, seq: 128, batch: 4 },
  B: { name: 'B', hidden: 288, inter: 768, layers: 6, heads: 6, kvHeads: 6, vocab: 2048, seq: 128, batch: 2 },
  // only for smoke tests
  T: { name: 'T', hidden: 32, inter: 48, layers: 2, heads: 4, kvHeads: 2, vocab: 64, seq: 16, batch: 2 },
};
export const NORM_EPS = 1e-5;
export const ROPE_THETA = 10000;
export const LORA = { rank: 8, alpha: 16, scale: 2 };
export const ADAMW = { lr: 5e-3, b1: 0.9, b2: 0.999, eps: 1e-8, wd: 0.01 };
// full fine-tuning uses a smaller step
export const ADAMW_FULL = { ...ADAMW, lr: 1e-3 };

// FNV-1a (32 bit) of a string, used as the seed of each tensor's own stream.
export function fnv1a(str) {
  let h = 0x811c9dc5;
  for (let i = 0; i < str.length; i++) {
    h ^= str.charCodeAt(i);
    h = Math.imul(h, 0x01000193);
  }
  return h >>> 0;
}
// mulberry32: returns a function giving u32 values.
export function mulberry32(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}
// Float32Array of n values uniform in [-bound, bound).
export function uniform(name, n, bound, seed = 1) {
  const next = mulberry32((fnv1a(name) ^ Math.imul(seed, 0x9e3779b1)) >>> 0);
  const out = new Float32Array(n);
  for (let i = 0; i < n; i++) out[i] = ((next() / 4294967296) * 2 - 1) * bound;
  return out;
}

export const PROJ = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'];
const HF = {
  q: 'self_attn.q_proj',
  k: 'self_attn.k_proj',
  v: 'self_attn.v_proj',
  o: 'self_attn.o_proj',
  gate: 'mlp.gate_proj',
  up: 'mlp.up_proj',
  down: 'mlp.down_proj',
};
export function projShape(c, p) {
  // [out, in]
  const hd = c.hidden / c.heads,
    kv = hd * c.kvHeads;
  return {
    q: [c.hidden, c.hidden],
    k: [kv, c.hidden],
    v: [kv, c.hidden],
    o: [c.hidden, c.hidden],
    gate: [c.inter, c.hidden],
    up: [c.inter, c.hidden],
    down: [c.hidden, c.inter],
  }[p];
}

// Base weights. Names and row-major [out, in] layouts follow the Hugging Face Llama convention.
// Embeddings are tied: logits = h @ embed^T.
// Linear and embedding entries: uniform with std 1/sqrt(fan_in), i.e. bound sqrt(3/fan_in).
// Norm gains: 1 + uniform(0.1).
export function makeWeights(c, seed = 1) {
  const w = {};
  const put = (name, shape, fanIn) => {
    w[name] = { shape, data: uniform(name, shape[0] * shape[1], Math.sqrt(3 / fanIn), seed) };
  };
  const norm = (name) => {
    const d = uniform(name, c.hidden, 0.1, seed);
    for (let i = 0; i < d.length; i++) d[i] = Math.fround(1 + d[i]);
    w[name] = { shape: [c.hidden], data: d };
  };
  put('model.embed_tokens.weight', [c.vocab, c.hidden], c.hidden);
  for (let l = 0; l < c.layers; l++) {
    norm(`model.layers.${l}.input_layernorm.weight`);
    norm(`model.layers.${l}.post_attention_layernorm.weight`);
    for (const p of PROJ) {
      const s = projShape(c, p);
      put(`model.layers.${l}.${HF[p]}.weight`, s, s[1]);
    }
  }
  norm('model.norm.weight');
  return w;
}
export const baseName = (l, p) => `model.layers.${l}.${HF[p]}.weight`;
export const loraName = (l, p, ab) => `base_model.model.model.layers.${l}.${HF[p]}.lora_${ab}.weight`;
// LoRA: A [rank, in] uniform(1/sqrt(in)); B [out, rank] zeros (PEFT default initialisation, own PRNG).
export function makeLora(c, seed = 1) {
  const w = {};
  for (let l = 0; l < c.layers; l++)
    for (const p of PROJ) {
      const [o, i] = projShape(c, p);
      const a = loraName(l, p, 'A'),
        b = loraName(l, p, 'B');
      w[a] = { shape: [LORA.rank, i], data: uniform(a, LORA.rank * i, 1 / Math.sqrt(i), seed) };
      w[b] = { shape: [o, LORA.rank], data: new Float32Array(o * LORA.rank) };
    }
  return w;
}
// Fixed batch: batch x (seq+1) tokens, uniform over the vocabulary; inputs are [:, :-1], targets [:, 1:].
export function makeBatch(c, seed = 1) {
  const next = mulberry32((fnv1a('batch') ^ seed) >>> 0);
  const tokens = new Int32Array(c.batch * c.seq),
    targets = new Int32Array(c.batch * c.seq);
  for (let b = 0; b < c.batch; b++) {
    let prev = next() % c.vocab;
    for (let s = 0; s < c.seq; s++) {
      const t = next() % c.vocab;
      tokens[b * c.seq + s] = prev;
      targets[b * c.seq + s] = t;
      prev = t;
    }
  }
  return { tokens, targets };
}
// cos/sin tables [seq, headDim], rotate-half convention (the second half repeats the first).
export function ropeTables(c, n = c.seq) {
  const hd = c.hidden / c.heads,
    half = hd / 2;
  const cos = new Float32Array(n * hd),
    sin = new Float32Array(n * hd);
  for (let t = 0; t < n; t++)
    for (let i = 0; i < half; i++) {
      const a = t * ROPE_THETA ** ((-2 * i) / hd);
      cos[t * hd + i] = cos[t * hd + half + i] = Math.cos(a);
      sin[t * hd + i] = sin[t * hd + half + i] = Math.sin(a);
    }
  return { cos, sin };
}
export function causalMask(n) {
  const m = new Float32Array(n * n);
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) m[i * n + j] = -1e9;
  return m;
}

// Useful floating point work (multiply and add counted separately), dense attention counted in full.
export function flops(c, mode) {
  const N = c.batch * c.seq;
  let lin = c.vocab * c.hidden,
    lora = 0;
  for (const p of PROJ) {
    const [o, i] = projShape(c, p);
    lin += c.layers * o * i;
    lora += c.layers * LORA.rank * (o + i);
  }
  const attn = 4 * c.batch * c.seq * c.seq * c.hidden * c.layers; // QK^T and PV
  const fwdBase = 2 * N * lin + attn;
  const fwdLora = 2 * N * lora;
  return {
    forward: fwdBase,
    // LoRA: base forward + activation gradients (one more base pass, attention backward twice), LoRA factors three passes
    lora: 2 * (2 * N * lin) + 3 * attn + 3 * fwdLora,
    full: 3 * (2 * N * lin) + 3 * attn,
  }[mode];
}
