// Loaded before the contender. Counts WebGPU traffic (no contender code is touched) and runs the measurements.
// A contender whose GPU work is in a Web Worker imports this file first in the worker too, and gives `bench.counts()`, which
// resolves with the worker's `harness.gpu`.
import { ADAMW, ADAMW_FULL, CONFIGS, flops, makeBatch, makeLora, makeWeights } from './common.js';

const gpu = { live: 0, peak: 0, created: 0, dispatches: 0, submits: 0, passes: 0, maps: 0, pipelines: 0 };
if (globalThis.GPUDevice && !location.search.includes('raw=1')) {
  const sizes = new WeakMap();
  const wrap = (proto, name, before, after) => {
    const orig = proto[name];
    proto[name] = function (...a) {
      before?.call(this, ...a);
      const r = orig.apply(this, a);
      after?.call(this, r, ...a);
      return r;
    };
  };
  wrap(GPUDevice.prototype, 'createBuffer', null, (b, d) => {
    sizes.set(b, d.size);
    gpu.live += d.size;
    gpu.created++;
    if (gpu.live > gpu.peak) gpu.peak = gpu.live;
  });
  wrap(GPUBuffer.prototype, 'destroy', function () {
    const s = sizes.get(this);
    if (s) {
      gpu.live -= s;
      sizes.delete(this);
    }
  });
  wrap(GPUComputePassEncoder.prototype, 'dispatchWorkgroups', () => {
    gpu.dispatches++;
  });
  wrap(GPUCommandEncoder.prototype, 'beginComputePass', () => {
    gpu.passes++;
  });
  wrap(GPUQueue.prototype, 'submit', () => {
    gpu.submits++;
  });
  wrap(GPUBuffer.prototype, 'mapAsync', () => {
    gpu.maps++;
  });
  wrap(GPUDevice.prototype, 'createComputePipeline', () => {
    gpu.pipelines++;
  });
  wrap(GPUDevice.prototype, 'createComputePipelineAsync', () => {
    gpu.pipelines++;
  });
}
const median = (a) => {
  const s = [...a].sort((x, y) => x - y),
    n = s.length;
  return n % 2 ? s[n >> 1] : (s[n / 2 - 1] + s[n / 2]) / 2;
};

// CPU-contention yardstick: a fixed single-threaded 192^3 float32 JS matmul, best and median of 5, in ms.
function yardstick() {
  const n = 192,
    a = new Float32Array(n * n).fill(0.5),
    b = new Float32Array(n * n).fill(0.25),
    c = new Float32Array(n * n),
    ts = [];
  for (let r = 0; r < 5; r++) {
    const t = performance.now();
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        let s = 0;
        for (let k = 0; k < n; k++) s += a[i * n + k] * b[j * n + k];
        c[i * n + j] = s;
      }
    ts.push(performance.now() - t);
  }
  return { best: Math.min(...ts), median: median(ts) };
}

globalThis.harness = {
  gpu,
  async run({ config, mode = 'lora', steps = 20, warmup = 3, measure = 7, maxMs = 60000, forward = true, decode = 0 }) {
    const c = CONFIGS[config],
      b = globalThis.bench;
    const weights = makeWeights(c),
      lora = makeLora(c),
      batch = makeBatch(c);
    const out = { peer: b.info, config, mode, tokensPerStep: c.batch * c.seq, flops: flops(c, mode) };
    out.yardBefore = yardstick();
    let t = performance.now();
    await b.init(c, { weights, lora, mode, adamw: mode === 'full' ? ADAMW_FULL : ADAMW });
    out.initMs = performance.now() - t;
    const losses = [],
      times = [];
    const started = performance.now();
    const counts = async () => ({ ...(b.counts ? await b.counts() : gpu) });
    let snap = null,
      snapAt = 0;
    for (let i = 0; i < Math.max(steps, warmup + measure); i++) {
      if (i === 1 || i === warmup) {
        snap = await counts();
        snapAt = i;
      }
      t = performance.now();
      const loss = await b.step(batch);
      times.push(performance.now() - t);
      losses.push(loss);
      if (!Number.isFinite(loss)) break;
      // over the time budget: keep at least one step after the first (compiling) one
      if (performance.now() - started > maxMs && i >= 1) break;
    }
    const end = await counts(),
      n = times.length - snapAt,
      hot = times.slice(Math.min(warmup, times.length - 1));
    out.losses = losses;
    out.firstStepMs = times[0];
    out.stepMs = median(hot);
    out.minMs = Math.min(...hot);
    out.maxMs = Math.max(...hot);
    out.timed = hot.length;
    out.tokensPerSec = (out.tokensPerStep / out.stepMs) * 1000;
    out.gflops = out.flops / out.stepMs / 1e6;
    out.perStep = snap && {
      dispatches: (end.dispatches - snap.dispatches) / n,
      submits: (end.submits - snap.submits) / n,
      passes: (end.passes - snap.passes) / n,
      buffersCreated: (end.created - snap.created) / n,
      maps: (end.maps - snap.maps) / n,
    };
    out.pipelines = end.pipelines;
    out.gpuPeakBytes = end.peak;
    out.gpuLiveBytes = end.live;
    if (forward && b.forward) {
      const f = [];
      let v = 0;
      for (let i = 0; i < 5; i++) {
        t = performance.now();
        v = await b.forward(batch);
        f.push(performance.now() - t);
      }
      out.forwardMs = median(f.slice(1));
      out.forwardLoss = v;
    }
    if (decode && b.decode && mode !== 'full') {
      try {
        const d = await b.decode([1, 2, 3], decode);
        out.decode = { ...d, tokPerSec: (d.timedTokens / d.ms) * 1000 };
      } catch (e) {
        out.decode = { error: String(e) };
      }
    }
    out.yardAfter = yardstick();
    if (performance.memory) out.jsHeapBytes = performance.memory.usedJSHeapSize;
    return out;
  },
};
