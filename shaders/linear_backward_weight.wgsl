// linear_backward_weight: dw[n, k] += sum_m dy[m, n] * x[m, k]
// The gradient of a linear's weights, summed over the M rows in order.
//
//   dw (N, K)       f32  read+write  K a multiple of 4
//   dy (M, STRIDE)  f32  read        N columns from COLUMN on; STRIDE and COLUMN multiples of 4
//   x  (M, K)       f32  read
//
// dispatch: one thread for 8 rows (n) x 8 columns (k) of dw, columns fastest; no workgroup memory, no barrier.

override WG: u32 = 32u; // threads per workgroup

struct Params { first: u32, M: u32, N: u32, K: u32, STRIDE: u32, COLUMN: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dw: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;

fn store(n: u32, at: u32, left: vec4<f32>, right: vec4<f32>, both: bool) {
  if (n >= params.N) { return; }
  let i = n * (params.K / 4u) + at;
  dw[i] += left;
  if (both) { dw[i + 1u] += right; }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let K4 = params.K / 4u;
  let N4 = (params.N + 3u) / 4u;
  let tiles = (K4 + 1u) / 2u;
  let tile = (group.x + params.first) * WG + lane;
  let n = (tile / tiles) * 8u;
  if (n >= params.N) { return; }
  let left = (tile % tiles) * 2u;
  let right = min(left + 1u, K4 - 1u);
  let stride = params.STRIDE / 4u;
  let upper = params.COLUMN / 4u + n / 4u;
  let lower = params.COLUMN / 4u + min(n / 4u + 1u, N4 - 1u);
  var l0 = vec4<f32>();
  var r0 = vec4<f32>();
  var l1 = vec4<f32>();
  var r1 = vec4<f32>();
  var l2 = vec4<f32>();
  var r2 = vec4<f32>();
  var l3 = vec4<f32>();
  var r3 = vec4<f32>();
  var l4 = vec4<f32>();
  var r4 = vec4<f32>();
  var l5 = vec4<f32>();
  var r5 = vec4<f32>();
  var l6 = vec4<f32>();
  var r6 = vec4<f32>();
  var l7 = vec4<f32>();
  var r7 = vec4<f32>();
  for (var m = 0u; m < params.M; m++) {
    let u = dy[m * stride + upper];
    let d = dy[m * stride + lower];
    let xl = x[m * K4 + left];
    let xr = x[m * K4 + right];
    l0 += u.x * xl;
    r0 += u.x * xr;
    l1 += u.y * xl;
    r1 += u.y * xr;
    l2 += u.z * xl;
    r2 += u.z * xr;
    l3 += u.w * xl;
    r3 += u.w * xr;
    l4 += d.x * xl;
    r4 += d.x * xr;
    l5 += d.y * xl;
    r5 += d.y * xr;
    l6 += d.z * xl;
    r6 += d.z * xr;
    l7 += d.w * xl;
    r7 += d.w * xr;
  }
  let both = left + 1u < K4;
  store(n + 0u, left, l0, r0, both);
  store(n + 1u, left, l1, r1, both);
  store(n + 2u, left, l2, r2, both);
  store(n + 3u, left, l3, r3, both);
  store(n + 4u, left, l4, r4, both);
  store(n + 5u, left, l5, r5, both);
  store(n + 6u, left, l6, r6, both);
  store(n + 7u, left, l7, r7, both);
}
