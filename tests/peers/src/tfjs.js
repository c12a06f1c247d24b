// Contender: TensorFlow.js 4.22 (backend chosen by ?device=webgpu|cpu|wasm|webgl). Eager, tf.variableGrads.
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-webgpu';
import '@tensorflow/tfjs-backend-wasm';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { baseName, causalMask, LORA, loraName, NORM_EPS, PROJ, ropeTables } from './common.js';

const device = new URLSearchParams(location.search).get('device') ?? 'webgpu';
let c, mode, opt, base, ad, vars, optimizer, cos, sin, mask;

const linear = (x, w, lo) => {
  const y = tf.matMul(x, w, false, true);
  return lo ? tf.add(y, tf.mul(tf.matMul(tf.matMul(x, lo.A, false, true), lo.B, false, true), LORA.scale)) : y;
};
const rms = (x, g) => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), NORM_EPS))), g);
const rope = (x, cs, sn) => {
  // [..., hd]
  const [a, b] = tf.split(x, 2, -1);
  return tf.add(tf.mul(x, cs), tf.mul(tf.concat([tf.neg(b), a], -1), sn));
};
// The broadcast of kv heads to query heads, done with concat so that its gradient is a plain slice + add.
const repeatHeads = (x, B, S, hd) => {
  const rep = c.heads / c.kvHeads;
  if (rep === 1) return x;
  return tf.reshape(tf.tile(tf.reshape(x, [B, c.kvHeads, 1, S * hd]), [1, 1, rep, 1]), [B, c.heads, S, hd]);
};
function hidden(tokens, B, S) {
  const H = c.hidden,
    hd = H / c.heads,
    N = B * S;
  let x = tf.gather(base.embed, tokens);
  for (let l = 0; l < c.layers; l++) {
    const L = base.layers[l],
      A = ad ? ad[l] : {};
    const n1 = rms(x, L.n1);
    const heads = (y, h) => tf.transpose(tf.reshape(y, [B, S, h, hd]), [0, 2, 1, 3]);
    const q = rope(heads(linear(n1, L.q, A.q), c.heads), cos, sin);
    const k = repeatHeads(rope(heads(linear(n1, L.k, A.k), c.kvHeads), cos, sin), B, S, hd);
    const v = repeatHeads(heads(linear(n1, L.v, A.v), c.kvHeads), B, S, hd);
    const sc = tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(hd)), mask);
    const att = tf.reshape(tf.transpose(tf.matMul(tf.softmax(sc), v), [0, 2, 1, 3]), [N, H]);
    x = tf.add(x, linear(att, L.o, A.o));
    const n2 = rms(x, L.n2);
    const g = linear(n2, L.gate, A.gate);
    x = tf.add(x, linear(tf.mul(tf.mul(g, tf.sigmoid(g)), linear(n2, L.up, A.up)), L.down, A.down));
  }
  return rms(x, base.norm);
}
function lossOf(tokens, onehot) {
  const logits = tf.matMul(hidden(tokens, c.batch, c.seq), base.embed, false, true);
  return tf.losses.softmaxCrossEntropy(onehot, logits); // mean over rows
}
let cached = null;
function inputs(batch) {
  if (cached?.batch !== batch) {
    cached?.tok.dispose();
    cached?.oh.dispose();
    cached = {
      batch,
      tok: tf.tensor1d(batch.tokens, 'int32'),
      oh: tf.tidy(() => tf.oneHot(tf.tensor1d(batch.targets, 'int32'), c.vocab).toFloat()),
    };
  }
  return cached;
}
window.bench = {
  info: { name: `tfjs ${device}`, version: tf.version.tfjs, note: 'eager; variableGrads; tf.train.adam + decoupled decay' },
  async init(config, { weights, lora, mode: md, adamw: o }) {
    setWasmPaths('/wasm/');
    if (!(await tf.setBackend(device))) throw new Error(`backend ${device} unavailable`);
    await tf.ready();
    const mm = new URLSearchParams(location.search).get('mm'); // force one of tfjs's WebGPU matmul programs (0 reduce, 1 split-K, 2 small output, 3 packed)
    if (mm) {
      tf.env().set('WEBGPU_MATMUL_PROGRAM_TYPE', +mm);
      this.info.name += ` mm=${mm}`;
    }
    c = config;
    mode = md;
    opt = o;
    vars = [];
    const W = (n) => {
      const x = tf.tensor(weights[n].data, weights[n].shape);
      if (mode !== 'full') return x;
      const vv = tf.variable(x, true, n);
      x.dispose();
      vars.push(vv);
      return vv;
    };
    base = { embed: W('model.embed_tokens.weight'), norm: W('model.norm.weight'), layers: [] };
    ad = mode === 'lora' ? [] : null;
    for (let l = 0; l < c.layers; l++) {
      const L = { n1: W(`model.layers.${l}.input_layernorm.weight`), n2: W(`model.layers.${l}.post_attention_layernorm.weight`) };
      const A = {};
      for (const p of PROJ) {
        L[p] = W(baseName(l, p));
        if (ad) {
          A[p] = {};
          for (const ab of ['A', 'B']) {
            const e = lora[loraName(l, p, ab)];
            const x = tf.tensor(e.data, e.shape);
            A[p][ab] = tf.variable(x, true, loraName(l, p, ab));
            x.dispose();
            vars.push(A[p][ab]);
          }
        }
      }
      base.layers.push(L);
      if (ad) ad.push(A);
    }
    const hd = c.hidden / c.heads,
      tb = ropeTables(c);
    cos = tf.tensor(tb.cos, [c.seq, hd]);
    sin = tf.tensor(tb.sin, [c.seq, hd]);
    mask = tf.tensor(causalMask(c.seq), [c.seq, c.seq]);
    optimizer = tf.train.adam(opt.lr, opt.b1, opt.b2, opt.eps);
  },
  async step(batch) {
    const { tok, oh } = inputs(batch);
    const loss = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(() => lossOf(tok, oh), vars);
      for (const vv of vars) vv.assign(tf.mul(vv, 1 - opt.lr * opt.wd));
      optimizer.applyGradients(grads);
      return value;
    });
    const l = (await loss.data())[0];
    loss.dispose();
    if (device === 'webgpu') await tf.backend().queue.onSubmittedWorkDone();
    return l;
  },
  async forward(batch) {
    const { tok, oh } = inputs(batch);
    const loss = tf.tidy(() => lossOf(tok, oh));
    const l = (await loss.data())[0];
    loss.dispose();
    return l;
  },
  async decode(prompt, n) {
    const H = c.hidden,
      hd = H / c.heads,
      kvh = c.kvHeads,
      rep = c.heads / kvh;
    const caches = Array.from({ length: c.layers }, () => null);
    const ids = [...prompt];
    let t0 = 0;
    const ad0 = ad;
    ad = null;
    const tb = ropeTables(c);
    for (let i = 0; i < prompt.length + n - 1; i++) {
      if (i === prompt.length) t0 = performance.now();
      const old = caches.map((k) => k);
      const nx = tf.tidy(() => {
        const cs = tf.tensor(tb.cos.slice(i * hd, i * hd + hd), [1, hd]),
          sn = tf.tensor(tb.sin.slice(i * hd, i * hd + hd), [1, hd]);
        let x = tf.gather(base.embed, tf.tensor1d([ids[i]], 'int32'));
        for (let l = 0; l < c.layers; l++) {
          const L = base.layers[l],
            n1 = rms(x, L.n1);
          const q = rope(tf.reshape(linear(n1, L.q), [c.heads, 1, hd]), cs, sn);
          const k1 = rope(tf.reshape(linear(n1, L.k), [kvh, 1, hd]), cs, sn),
            v1 = tf.reshape(linear(n1, L.v), [kvh, 1, hd]);
          const k = caches[l] ? tf.concat([caches[l].k, k1], 1) : k1,
            v = caches[l] ? tf.concat([caches[l].v, v1], 1) : v1;
          caches[l] = { k: tf.keep(k), v: tf.keep(v) };
          const qg = tf.reshape(q, [kvh, rep, hd]); // grouped queries attend to their own kv head
          const att = tf.reshape(tf.matMul(tf.softmax(tf.mul(tf.matMul(qg, k, false, true), 1 / Math.sqrt(hd))), v), [1, H]);
          x = tf.add(x, linear(att, L.o));
          const n2 = rms(x, L.n2),
            g = linear(n2, L.gate);
          x = tf.add(x, linear(tf.mul(tf.mul(g, tf.sigmoid(g)), linear(n2, L.up)), L.down));
        }
        return tf.argMax(tf.matMul(rms(x, base.norm), base.embed, false, true), -1);
      });
      const id = (await nx.data())[0];
      nx.dispose();
      for (const o of old)
        if (o) {
          o.k.dispose();
          o.v.dispose();
        }
      if (i >= prompt.length - 1) ids.push(id);
    }
    const ms = performance.now() - t0;
    ad = ad0;
    for (const o of caches) {
      o.k.dispose();
      o.v.dispose();
    }
    return { ids: ids.slice(prompt.length), ms, timedTokens: n - 1, kvCache: true };
  },
};
