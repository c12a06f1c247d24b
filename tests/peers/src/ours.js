// Contender: Maquette's own engine, as the app runs it: plans of dispatches over hand-written WGSL, one read-back a step. Vite bundles it, shaders inlined.
import { createEngine } from '../../../src/engine/engine.ts';
import { openGpu } from '../../../src/engine/gpu.ts';
import { greedy } from '../../../src/engine/types.ts';
import { LORA, loraName, NORM_EPS, PROJ, ROPE_THETA } from './common.js';

// Prompt and answer of the decoding test; scoring the loss takes one token more than `seq`.
const CONTEXT = 256;
let c, engine, patch, adamw;

function modelConfig() {
  return {
    ...{ architecture: 'llama', C: c.hidden, L: c.layers, NH: c.heads, NKV: c.kvHeads, HS: c.hidden / c.heads, F: c.inter, V: c.vocab },
    ...{ context: CONTEXT, normEps: NORM_EPS, ropeTheta: ROPE_THETA, tied: true, stopIds: [] },
  };
}
async function* rawTensors(weights) {
  for (const [name, { shape, data }] of Object.entries(weights)) {
    yield { name, shape, dtype: 'f32', bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  }
}
const host = (tensors, name) => ({ name, shape: tensors[name].shape, data: tensors[name].data });
function loraParts(lora) {
  return Array.from({ length: c.layers }, (_, layer) =>
    PROJ.map((p) => ({
      kind: 'low-rank',
      site: { layer, linear: `${p}_proj` },
      A: host(lora, loraName(layer, p, 'A')),
      B: host(lora, loraName(layer, p, 'B')),
      scale: LORA.scale,
    })),
  ).flat();
}

window.bench = {
  info: { name: 'Maquette WebGPU', version: 'this checkout', note: 'f32 base, one micro-batch a step' },
  async init(config, { weights, lora, mode, adamw: { lr, b1, b2, eps, wd } }) {
    c = config;
    const gpu = await openGpu(navigator.gpu);
    engine = await createEngine(gpu, { config: modelConfig(), tensors: () => rawTensors(weights) }, { storage: 'f32' });
    const parts =
      mode === 'lora' ? loraParts(lora) : Object.keys(weights).map((name) => ({ kind: 'weights', name, values: host(weights, name) }));
    patch = engine.createPatch(parts, { trainable: true });
    adamw = { lr, beta1: b1, beta2: b2, eps, weightDecay: wd, clipNorm: 0 };
  },
  // `update` reads the loss back after the update's own dispatches, in one submit: when it resolves, the update is done.
  async step({ tokens, targets }) {
    engine.accumulate({ tokens: Uint32Array.from(tokens), targets, shape: [c.batch, c.seq] }, patch, targets.length);
    return (await engine.update(patch, adamw)).loss;
  },
  // Scoring is of whole texts: the last target joins each row, which makes it one token longer than the others' rows.
  async forward({ tokens, targets }) {
    const rows = Uint32Array.from({ length: c.batch * (c.seq + 1) }, (_, i) => {
      const [b, t] = [Math.floor(i / (c.seq + 1)), i % (c.seq + 1)];
      return t < c.seq ? tokens[b * c.seq + t] : targets[b * c.seq + t - 1];
    });
    const scores = await engine.score(rows, [c.batch, c.seq + 1], patch);
    return -scores.reduce((sum, nats) => sum + nats, 0) / targets.length;
  },
  async decode(prompt, n) {
    const ids = [];
    let start = 0;
    for await (const id of engine.generate(Uint32Array.from(prompt), greedy(n, []))) {
      if (ids.length === 0) start = performance.now();
      ids.push(id);
    }
    return { ids, ms: performance.now() - start, timedTokens: n - 1, kvCache: true };
  },
};
