// Measures what a hand-written f32 WGSL matmul attains here: C[M,N] = A[M,K] B[K,N], several blockings.
const header = `
@group(0) @binding(0) var<storage, read> A: array<vec4f>;
@group(0) @binding(1) var<storage, read> B: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> C: array<vec4f>;
override M: u32; override N: u32; override K: u32;
`;
// One thread, one output, scalar loads.
const naive = `
@group(0) @binding(0) var<storage, read> A: array<f32>;
@group(0) @binding(1) var<storage, read> B: array<f32>;
@group(0) @binding(2) var<storage, read_write> C: array<f32>;
override M: u32; override N: u32; override K: u32;
@compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) g: vec3u) {
  var s = 0f; for (var k = 0u; k < K; k++) { s += A[g.y * K + k] * B[k * N + g.x]; } C[g.y * N + g.x] = s;
}`;
// Classic shared-memory tile, one output per thread.
const shared = (T) => `
@group(0) @binding(0) var<storage, read> A: array<f32>;
@group(0) @binding(1) var<storage, read> B: array<f32>;
@group(0) @binding(2) var<storage, read_write> C: array<f32>;
override M: u32; override N: u32; override K: u32;
var<workgroup> a: array<f32, ${T * T}>; var<workgroup> b: array<f32, ${T * T}>;
@compute @workgroup_size(${T}, ${T}) fn main(@builtin(global_invocation_id) g: vec3u, @builtin(local_invocation_id) l: vec3u) {
  var s = 0f;
  for (var k = 0u; k < K; k += ${T}u) {
    a[l.y * ${T}u + l.x] = A[g.y * K + k + l.x]; b[l.y * ${T}u + l.x] = B[(k + l.y) * N + g.x];
    workgroupBarrier();
    for (var i = 0u; i < ${T}u; i++) { s += a[l.y * ${T}u + i] * b[i * ${T}u + l.x]; }
    workgroupBarrier();
  }
  C[g.y * N + g.x] = s;
}`;
// Register blocking, no shared memory: each thread makes R rows x (4*Q) columns with vec4 accumulators, K unrolled by 4.
const reg = (R, Q, wx, wy) => {
  let b = '';
  for (let r = 0; r < R; r++) for (let q = 0; q < Q; q++) b += `var c${r}_${q} = vec4f();`;
  b += `for (var k = 0u; k < K / 4u; k++) {`;
  for (let r = 0; r < R; r++) b += `let a${r} = A[(row + ${r}u) * (K / 4u) + k];`;
  for (let kk = 0; kk < 4; kk++) {
    for (let q = 0; q < Q; q++) b += `let b${kk}_${q} = B[(k * 4u + ${kk}u) * n4 + col + ${q}u];`;
    for (let r = 0; r < R; r++) for (let q = 0; q < Q; q++) b += `c${r}_${q} = fma(vec4f(a${r}.${'xyzw'[kk]}), b${kk}_${q}, c${r}_${q});`;
  }
  b += '}';
  for (let r = 0; r < R; r++) for (let q = 0; q < Q; q++) b += `C[(row + ${r}u) * n4 + col + ${q}u] = c${r}_${q};`;
  return `${header}@compute @workgroup_size(${wx}, ${wy}) fn main(@builtin(global_invocation_id) g: vec3u) { let n4 = N / 4u; let row = g.y * ${R}u; let col = g.x * ${Q}u; ${b} }`;
};
// Same block, but written with mul+add rather than fma.
const regMad = (R, Q, wx, wy) =>
  reg(R, Q, wx, wy).replace(/(c\d+_\d+) = fma\((vec4f\([^)]*\)), (b\d+_\d+), c\d+_\d+\);/g, '$1 += $2 * $3;');
// Shared tile + register block: workgroup makes (wy*R) x (wx*4) outputs, K tile of KT.
const sharedReg = (R, wx, wy, KT) => {
  const TM = wy * R,
    TN4 = wx,
    th = wx * wy,
    la = (TM * KT) / 4,
    lb = KT * TN4;
  let b = '';
  for (let r = 0; r < R; r++) b += `var c${r} = vec4f();`;
  b += `for (var k0 = 0u; k0 < K; k0 += ${KT}u) {
    for (var i = li; i < ${la}u; i += ${th}u) { sa[i] = A[(rowBase + i / ${KT / 4}u) * (K / 4u) + k0 / 4u + i % ${KT / 4}u]; }
    for (var i = li; i < ${lb}u; i += ${th}u) { sb[i] = B[(k0 + i / ${TN4}u) * n4 + colBase + i % ${TN4}u]; }
    workgroupBarrier();
    for (var k = 0u; k < ${KT / 4}u; k++) {`;
  for (let r = 0; r < R; r++) b += `let a${r} = sa[(l.y * ${R}u + ${r}u) * ${KT / 4}u + k];`;
  for (let kk = 0; kk < 4; kk++) {
    b += `let b${kk} = sb[(k * 4u + ${kk}u) * ${TN4}u + l.x];`;
    for (let r = 0; r < R; r++) b += `c${r} += a${r}.${'xyzw'[kk]} * b${kk};`;
  }
  b += '} workgroupBarrier(); }';
  for (let r = 0; r < R; r++) b += `C[(rowBase + l.y * ${R}u + ${r}u) * n4 + colBase + l.x] = c${r};`;
  return `${header} var<workgroup> sa: array<vec4f, ${la}>; var<workgroup> sb: array<vec4f, ${lb}>;
  @compute @workgroup_size(${wx}, ${wy}) fn main(@builtin(workgroup_id) w: vec3u, @builtin(local_invocation_id) l: vec3u, @builtin(local_invocation_index) li: u32) {
  let n4 = N / 4u; let rowBase = w.y * ${TM}u; let colBase = w.x * ${TN4}u; ${b} }`;
};
export const VARIANTS = [
  { name: 'naive 8x8 wg', code: naive, tm: 8, tn: 8 },
  { name: 'shared 8x8', code: shared(8), tm: 8, tn: 8 },
  { name: 'shared 16x16', code: shared(16), tm: 16, tn: 16 },
  ...[
    [1, 1, 8, 8],
    [4, 1, 8, 8],
    [8, 1, 8, 4],
    [4, 2, 8, 8],
    [8, 2, 4, 4],
    [4, 1, 4, 1],
    [4, 1, 16, 1],
    [4, 2, 4, 1],
    [8, 2, 4, 1],
    [4, 4, 4, 1],
    [6, 2, 4, 1],
    [8, 2, 4, 2],
    [8, 1, 4, 4],
    [16, 1, 4, 2],
    [8, 4, 4, 4],
    [4, 2, 4, 8],
  ].map(([R, Q, x, y]) => ({ name: `reg ${R}x${4 * Q}, wg ${x}x${y}, fma`, code: reg(R, Q, x, y), tm: R * y, tn: 4 * Q * x })),
  ...[
    [4, 1, 8, 8],
    [4, 2, 8, 8],
    [8, 1, 8, 4],
    [4, 2, 4, 1],
    [8, 2, 4, 1],
    [4, 4, 4, 1],
    [6, 2, 4, 1],
  ].map(([R, Q, x, y]) => ({ name: `reg ${R}x${4 * Q}, wg ${x}x${y}, mul+add`, code: regMad(R, Q, x, y), tm: R * y, tn: 4 * Q * x })),
  ...[
    [4, 8, 8, 16],
    [4, 16, 16, 16],
    [8, 8, 4, 32],
    [8, 16, 8, 16],
  ].map(([R, x, y, kt]) => ({ name: `shared+reg ${R}x4, wg ${x}x${y}, kt ${kt}`, code: sharedReg(R, x, y, kt), tm: R * y, tn: 4 * x })),
];
window.ceiling = {
  variants: VARIANTS.map((v) => v.name),
  async run({ M, N, K, reps = 3, only = null, iters = 4 }) {
    const ad = await navigator.gpu.requestAdapter();
    const dev = await ad.requestDevice({ requiredLimits: { maxStorageBufferBindingSize: ad.limits.maxStorageBufferBindingSize } });
    const mk = (n, data) => {
      const b = dev.createBuffer({ size: n * 4, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC });
      if (data) dev.queue.writeBuffer(b, 0, data);
      return b;
    };
    const a = new Float32Array(M * K).map((_, i) => ((i * 7919) % 13) / 13 - 0.5),
      bb = new Float32Array(K * N).map((_, i) => ((i * 104729) % 17) / 17 - 0.5);
    const A = mk(M * K, a),
      B = mk(K * N, bb),
      C = mk(M * N),
      rd = dev.createBuffer({ size: M * N * 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const out = [];
    for (const v of VARIANTS) {
      if (only && !v.name.startsWith(only)) continue;
      if (M % v.tm || N % v.tn || K % 32) {
        out.push({ name: v.name, skipped: 'shape' });
        continue;
      }
      dev.pushErrorScope('validation');
      const p = await dev
        .createComputePipelineAsync({
          layout: 'auto',
          compute: { module: dev.createShaderModule({ code: v.code }), entryPoint: 'main', constants: { N, K } },
        })
        .catch((e) => ({ err: String(e) }));
      const err = await dev.popErrorScope();
      if (p.err || err) {
        out.push({ name: v.name, error: (p.err ?? err.message).slice(0, 300) });
        continue;
      }
      const g = dev.createBindGroup({
        layout: p.getBindGroupLayout(0),
        entries: [A, B, C].map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
      const go = async (n) => {
        const e = dev.createCommandEncoder();
        const ps = e.beginComputePass();
        ps.setPipeline(p);
        ps.setBindGroup(0, g);
        for (let i = 0; i < n; i++) ps.dispatchWorkgroups(N / v.tn, M / v.tm);
        ps.end();
        dev.queue.submit([e.finish()]);
        await dev.queue.onSubmittedWorkDone();
      };
      await go(1);
      const ts = [];
      for (let r = 0; r < reps; r++) {
        const t = performance.now();
        await go(iters);
        ts.push((performance.now() - t) / iters);
      }
      const e = dev.createCommandEncoder();
      e.copyBufferToBuffer(C, 0, rd, 0, M * N * 4);
      dev.queue.submit([e.finish()]);
      await rd.mapAsync(GPUMapMode.READ);
      const c = new Float32Array(rd.getMappedRange().slice(0));
      rd.unmap();
      let worst = 0;
      for (let s = 0; s < 40; s++) {
        const i = (s * 37) % M,
          j = (s * 53) % N;
        let x = 0;
        for (let k = 0; k < K; k++) x += a[i * K + k] * bb[k * N + j];
        worst = Math.max(worst, Math.abs(x - c[i * N + j]));
      }
      ts.sort((x, y) => x - y);
      out.push({
        name: v.name,
        ms: ts[ts.length >> 1],
        best: ts[0],
        gflops: (2 * M * N * K) / ts[ts.length >> 1] / 1e6,
        bestGflops: (2 * M * N * K) / ts[0] / 1e6,
        worstError: worst,
      });
    }
    dev.destroy();
    return out;
  },
};
