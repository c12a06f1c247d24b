// Contender: @jax-js/jax. Device chosen by ?device=webgpu|wasm|cpu. One jit-compiled function does
// forward + cross-entropy + backward + AdamW.
import { blockUntilReady, defaultDevice, init as jaxInit, jit, nn, numpy as np, tree, valueAndGrad } from '@jax-js/jax';
import { baseName, LORA, loraName, NORM_EPS, PROJ, ropeTables } from './common.js';

const device = new URLSearchParams(location.search).get('device') ?? 'webgpu';
const light = new URLSearchParams(location.search).get('sync') === 'light';
let c, mode, opt, base, train, m, v, t, stepFn, fwdFn, tables;

const arr = (e) => np.array(e.data).reshape(e.shape);
const dense = (x, w) => np.dot(x, w.transpose());

function linear(x, w, lo) {
  // x: [N, in]
  if (!lo) return dense(x, w);
  const y = dense(x.ref, w);
  return y.add(dense(dense(x, lo.A), lo.B).mul(LORA.scale));
}
function rms(x, g) {
  const ms = np.square(x.ref).mean(-1, { keepdims: true });
  return x.mul(np.reciprocal(np.sqrt(ms.add(NORM_EPS)))).mul(g);
}
function rope(x, cos, sin) {
  const [a, b] = np.split(x.ref, 2, -1);
  return x.mul(cos).add(np.concatenate([b.mul(-1), a], -1).mul(sin));
}
function forward(P, lo, tokens, cos, sin, B, S) {
  // -> [B*S, H] final hidden states
  const H = c.hidden,
    hd = H / c.heads,
    N = B * S;
  let x = P.embed.slice(tokens); // [N, H]
  cos = cos.reshape([S, 1, hd]);
  sin = sin.reshape([S, 1, hd]);
  for (let l = 0; l < c.layers; l++) {
    const L = P.layers[l],
      A = lo ? lo[l] : {};
    const n1 = rms(x.ref, L.n1);
    let q = linear(n1.ref, L.q, A.q).reshape([B, S, c.heads, hd]);
    let k = linear(n1.ref, L.k, A.k).reshape([B, S, c.kvHeads, hd]);
    const vv = linear(n1, L.v, A.v).reshape([B, S, c.kvHeads, hd]);
    q = rope(q, cos.ref, sin.ref);
    k = rope(k, cos.ref, sin.ref);
    const att = nn.dotProductAttention(q, k, vv, { isCausal: true, scale: 1 / Math.sqrt(hd) });
    x = x.add(linear(att.reshape([N, H]), L.o, A.o));
    const n2 = rms(x.ref, L.n2);
    const g = nn.silu(linear(n2.ref, L.gate, A.gate)).mul(linear(n2, L.up, A.up));
    x = x.add(linear(g, L.down, A.down));
  }
  cos.dispose();
  sin.dispose();
  return rms(x, P.norm);
}
function lossOf(P, lo, tokens, onehotIds, cos, sin) {
  const embed = P.embed.ref;
  const h = forward(P, lo, tokens, cos, sin, c.batch, c.seq);
  const logits = dense(h, embed);
  const lse = nn.logsumexp(logits.ref, -1);
  const picked = logits.mul(nn.oneHot(onehotIds, c.vocab)).sum(-1);
  return lse.sub(picked).mean();
}
function adamw(p, g, m, v, t) {
  // trees; t: scalar array (1-based)
  const c1 = np.subtract(1, np.exp(t.ref.mul(Math.log(opt.b1))));
  const c2 = np.subtract(1, np.exp(t.mul(Math.log(opt.b2))));
  const nm = tree.map((mm, gg) => mm.mul(opt.b1).add(gg.mul(1 - opt.b1)), m, tree.ref(g));
  const nv = tree.map((vv, gg) => vv.mul(opt.b2).add(np.square(gg).mul(1 - opt.b2)), v, g);
  const np_ = tree.map(
    (pp, mm, vv) => {
      const u = mm.div(c1.ref).div(np.sqrt(vv.div(c2.ref)).add(opt.eps));
      return pp.mul(1 - opt.lr * opt.wd).sub(u.mul(opt.lr));
    },
    p,
    tree.ref(nm),
    tree.ref(nv),
  );
  c1.dispose();
  c2.dispose();
  return [np_, nm, nv];
}

window.bench = {
  info: { name: `jax-js ${device}`, version: '0.1.25', note: 'jit(valueAndGrad + AdamW) as one function' },
  async init(config, { weights, lora, mode: md, adamw: o }) {
    const devs = await jaxInit();
    if (!devs.includes(device)) throw new Error(`jax-js device ${device} missing; has ${devs}`);
    defaultDevice(device);
    c = config;
    mode = md;
    opt = o;
    const W = (n) => arr(weights[n]);
    base = { embed: W('model.embed_tokens.weight'), norm: W('model.norm.weight'), layers: [] };
    const ad = [];
    for (let l = 0; l < c.layers; l++) {
      const L = { n1: W(`model.layers.${l}.input_layernorm.weight`), n2: W(`model.layers.${l}.post_attention_layernorm.weight`) };
      const A = {};
      for (const p of PROJ) {
        L[p] = W(baseName(l, p));
        if (mode === 'lora') A[p] = { A: arr(lora[loraName(l, p, 'A')]), B: arr(lora[loraName(l, p, 'B')]) };
      }
      base.layers.push(L);
      ad.push(A);
    }
    const tb = ropeTables(c),
      hd = c.hidden / c.heads;
    tables = { cos: np.array(tb.cos).reshape([c.seq, hd]), sin: np.array(tb.sin).reshape([c.seq, hd]) };
    train = mode === 'lora' ? ad : base;
    m = tree.map((p) => np.zeros(p.shape), tree.ref(train));
    v = tree.map((p) => np.zeros(p.shape), tree.ref(train));
    t = 0;
    const lossLora = (tr, bs, tok, tgt, cos, sin) => lossOf(bs, tr, tok, tgt, cos, sin);
    const lossFull = (tr, tok, tgt, cos, sin) => lossOf(tr, null, tok, tgt, cos, sin);
    if (mode === 'lora') {
      stepFn = jit((tr, mm, vv, tt, bs, tok, tgt, cos, sin) => {
        const [loss, g] = valueAndGrad(lossLora)(tree.ref(tr), bs, tok, tgt, cos, sin);
        const [a, b, d] = adamw(tr, g, mm, vv, tt);
        return [loss, a, b, d];
      });
      fwdFn = jit(lossLora);
    } else {
      stepFn = jit((tr, mm, vv, tt, tok, tgt, cos, sin) => {
        const [loss, g] = valueAndGrad(lossFull)(tree.ref(tr), tok, tgt, cos, sin);
        const [a, b, d] = adamw(tr, g, mm, vv, tt);
        return [loss, a, b, d];
      });
      fwdFn = jit(lossFull);
    }
    await blockUntilReady(tree.ref(train));
  },
  _args({ tokens, targets }) {
    const i = (a) => np.array(a, { dtype: np.int32 });
    return [...(mode === 'lora' ? [tree.ref(base)] : []), i(tokens), i(targets), tables.cos.ref, tables.sin.ref];
  },
  async step(batch) {
    const [loss, a, b, d] = stepFn(train, m, v, np.array([++t]).reshape([]), ...this._args(batch));
    train = a;
    m = b;
    v = d;
    if (mode === 'full') base = train;
    if (!light)
      await blockUntilReady(tree.ref(train)); // ?sync=light: wait for the loss and one updated tensor only
    else await blockUntilReady(tree.leaves(train).at(-1).ref);
    return (await loss.data())[0];
  },
  async forward(batch) {
    const r = fwdFn(tree.ref(train), ...this._args(batch));
    return (await r.data())[0];
  },
  // greedy decoding with a fixed-capacity KV cache, one jit-compiled call per token; base weights only
  async decode(prompt, n) {
    const H = c.hidden,
      hd = H / c.heads,
      cap = c.seq,
      kv = c.kvHeads;
    const tok1 = jit((P, caches, tok, pos, cos, sin) => {
      const embed = P.embed.ref;
      let x = P.embed.slice(tok); // [1,H]
      const slot = np.arange(cap).equal(pos.ref).reshape([cap, 1, 1]);
      const valid = np.arange(cap).lessEqual ? np.arange(cap).lessEqual(pos) : np.lessEqual(np.arange(cap), pos);
      cos = cos.reshape([1, 1, hd]);
      sin = sin.reshape([1, 1, hd]);
      const out = [];
      for (let l = 0; l < c.layers; l++) {
        const L = P.layers[l];
        const n1 = rms(x.ref, L.n1);
        let q = dense(n1.ref, L.q).reshape([1, c.heads, hd]);
        let k = dense(n1.ref, L.k).reshape([1, kv, hd]);
        const vv = dense(n1, L.v).reshape([1, kv, hd]);
        q = rope(q, cos.ref, sin.ref);
        k = rope(k, cos.ref, sin.ref);
        const K = np.where(slot.ref, np.tile(k, [cap, 1, 1]), caches[l].k);
        const V = np.where(slot.ref, np.tile(vv, [cap, 1, 1]), caches[l].v);
        out.push({ k: K.ref, v: V.ref });
        const att = nn.dotProductAttention(q, K, V, { mask: valid.ref, scale: 1 / Math.sqrt(hd) });
        x = x.add(dense(att.reshape([1, H]), L.o));
        const n2 = rms(x.ref, L.n2);
        x = x.add(dense(nn.silu(dense(n2.ref, L.gate)).mul(dense(n2, L.up)), L.down));
      }
      slot.dispose();
      valid.dispose();
      cos.dispose();
      sin.dispose();
      const next = np.argmax(dense(rms(x, P.norm), embed), -1);
      return [next, out];
    });
    const tb = ropeTables(c);
    let caches = Array.from({ length: c.layers }, () => ({ k: np.zeros([cap, kv, hd]), v: np.zeros([cap, kv, hd]) }));
    const ids = [...prompt];
    let t0 = 0;
    for (let i = 0; i < prompt.length + n - 1; i++) {
      if (i === prompt.length) t0 = performance.now(); // the prompt also pays for compilation
      const [nx, ch] = tok1(
        tree.ref(base),
        caches,
        np.array(new Int32Array([ids[i]]), { dtype: np.int32 }),
        np.array(i, { dtype: np.int32 }),
        np.array(tb.cos.slice(i * hd, i * hd + hd)),
        np.array(tb.sin.slice(i * hd, i * hd + hd)),
      );
      caches = ch;
      const id = Number((await nx.data())[0]);
      if (i >= prompt.length - 1) ids.push(id);
    }
    const ms = performance.now() - t0;
    tree.dispose(caches);
    return { ids: ids.slice(prompt.length), ms, timedTokens: n - 1, kvCache: true };
  },
};
