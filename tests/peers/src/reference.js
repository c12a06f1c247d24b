// Plain-JS float64 forward pass and mean cross-entropy: the correctness yardstick.
import { baseName, LORA, loraName, NORM_EPS, ropeTables } from './common.js';

function linear(x, n, w, scale = 1, y = null) {
  // y[n,o] (+)= scale * x[n,i] w[o,i]^T
  const [o, i] = w.shape,
    d = w.data;
  y ??= new Float64Array(n * o);
  for (let r = 0; r < n; r++)
    for (let c = 0; c < o; c++) {
      let s = 0;
      for (let k = 0; k < i; k++) s += x[r * i + k] * d[c * i + k];
      y[r * o + c] += scale * s;
    }
  return y;
}
function rms(x, n, h, g) {
  const y = new Float64Array(n * h);
  for (let r = 0; r < n; r++) {
    let s = 0;
    for (let k = 0; k < h; k++) s += x[r * h + k] ** 2;
    const inv = 1 / Math.sqrt(s / h + NORM_EPS);
    for (let k = 0; k < h; k++) y[r * h + k] = x[r * h + k] * inv * g[k];
  }
  return y;
}
export function hiddenStates(c, w, tokens, batch, seq, lora) {
  const h = c.hidden,
    N = batch * seq,
    hd = h / c.heads,
    half = hd / 2,
    rep = c.heads / c.kvHeads;
  const { cos, sin } = ropeTables(c, seq);
  const emb = w['model.embed_tokens.weight'].data;
  const x = new Float64Array(N * h);
  for (let r = 0; r < N; r++) for (let k = 0; k < h; k++) x[r * h + k] = emb[tokens[r] * h + k];
  const proj = (l, p, inp) => {
    const y = linear(inp, N, w[baseName(l, p)]);
    if (lora) linear(linear(inp, N, lora[loraName(l, p, 'A')]), N, lora[loraName(l, p, 'B')], LORA.scale, y);
    return y;
  };
  const rope = (q, heads) => {
    const out = new Float64Array(q.length);
    for (let r = 0; r < N; r++)
      for (let a = 0; a < heads; a++)
        for (let i = 0; i < hd; i++) {
          const base = r * heads * hd + a * hd,
            t = (r % seq) * hd + i;
          const other = i < half ? -q[base + i + half] : q[base + i - half];
          out[base + i] = q[base + i] * cos[t] + other * sin[t];
        }
    return out;
  };
  for (let l = 0; l < c.layers; l++) {
    const n1 = rms(x, N, h, w[`model.layers.${l}.input_layernorm.weight`].data);
    const q = rope(proj(l, 'q', n1), c.heads),
      k = rope(proj(l, 'k', n1), c.kvHeads),
      v = proj(l, 'v', n1);
    const ctx = new Float64Array(N * h),
      sc = new Float64Array(seq),
      kvw = c.kvHeads * hd;
    for (let b = 0; b < batch; b++)
      for (let a = 0; a < c.heads; a++) {
        const ka = Math.floor(a / rep);
        for (let i = 0; i < seq; i++) {
          let mx = -Infinity,
            z = 0;
          const qi = (b * seq + i) * h + a * hd;
          for (let j = 0; j <= i; j++) {
            let s = 0;
            const kj = (b * seq + j) * kvw + ka * hd;
            for (let d = 0; d < hd; d++) s += q[qi + d] * k[kj + d];
            sc[j] = s / Math.sqrt(hd);
            if (sc[j] > mx) mx = sc[j];
          }
          for (let j = 0; j <= i; j++) {
            sc[j] = Math.exp(sc[j] - mx);
            z += sc[j];
          }
          for (let j = 0; j <= i; j++) {
            const pj = sc[j] / z,
              vj = (b * seq + j) * kvw + ka * hd;
            for (let d = 0; d < hd; d++) ctx[qi + d] += pj * v[vj + d];
          }
        }
      }
    const o = proj(l, 'o', ctx);
    for (let i = 0; i < x.length; i++) x[i] += o[i];
    const n2 = rms(x, N, h, w[`model.layers.${l}.post_attention_layernorm.weight`].data);
    const g = proj(l, 'gate', n2),
      u = proj(l, 'up', n2);
    for (let i = 0; i < g.length; i++) g[i] = (g[i] / (1 + Math.exp(-g[i]))) * u[i];
    const d = proj(l, 'down', g);
    for (let i = 0; i < x.length; i++) x[i] += d[i];
  }
  return rms(x, N, h, w['model.norm.weight'].data);
}
export function referenceLoss(c, w, { tokens, targets }, lora) {
  const hs = hiddenStates(c, w, tokens, c.batch, c.seq, lora),
    N = c.batch * c.seq;
  const logits = linear(hs, N, w['model.embed_tokens.weight']);
  let loss = 0;
  for (let r = 0; r < N; r++) {
    let mx = -Infinity,
      z = 0;
    for (let v = 0; v < c.vocab; v++) mx = Math.max(mx, logits[r * c.vocab + v]);
    for (let v = 0; v < c.vocab; v++) z += Math.exp(logits[r * c.vocab + v] - mx);
    loss += mx + Math.log(z) - logits[r * c.vocab + targets[r]];
  }
  return loss / N;
}
export function referenceGreedy(c, w, prompt, n) {
  const ids = [...prompt];
  for (let i = 0; i < n; i++) {
    const hs = hiddenStates(c, w, ids, 1, ids.length);
    const last = hs.slice((ids.length - 1) * c.hidden);
    const lg = linear(last, 1, w['model.embed_tokens.weight']);
    ids.push(lg.indexOf(Math.max(...lg)));
  }
  return ids.slice(prompt.length);
}
