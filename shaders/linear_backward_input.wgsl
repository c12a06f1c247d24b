// linear_backward_input: dx[m, k] = (ACCUMULATE: dx[m, k] +) sum_n dy[m, n] * w[n, k]
// The gradient of a linear's input; the weights are read through a weight reader.
//
//   dx      (M, K)       f32    read+write  K a multiple of 4
//   dy      (M, STRIDE)  f32    read        N columns from COLUMN on; both multiples of 4; where N is not, the columns up to the next one hold 0
//   weights (N, K)       shard  read        through a weight reader
//   micro, dh, A                            only with _low_rank_backward: dx += dropped(dh A), in the same tile
//
// Sizes are params, so that one compiled kernel serves every linear: compiling takes SwiftShader half a second.
// dispatch: one thread for 8 rows x 8 columns of dx, columns fastest; no workgroup memory, no barrier. Where K is no multiple of 8, the right half of the
// last columns is read from what comes next, and not written.

override WG: u32 = 32u; // threads per workgroup

struct Params {
  first: u32, M: u32, N: u32, K: u32, STRIDE: u32, COLUMN: u32, ACCUMULATE: u32,
  ranks4: u32, hidden4: u32, rank: u32, place: u32, THRESHOLD: u32, KEEP: f32, // of a low-rank part and its dropout: see _lora
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;

fn store(row: u32, at: u32, left: vec4<f32>, right: vec4<f32>, both: bool) {
  if (row >= params.M) { return; }
  let i = row * (params.K / 4u) + at;
  if (params.ACCUMULATE == 1u) {
    dx[i] += left;
    if (both) { dx[i + 1u] += right; }
  } else {
    dx[i] = left;
    if (both) { dx[i + 1u] = right; }
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let K4 = params.K / 4u;
  let tiles = (K4 + 1u) / 2u;
  let tile = (group.x + params.first) * WG + lane;
  let row = (tile / tiles) * 8u;
  if (row >= params.M) { return; }
  let left = (tile % tiles) * 2u;
  let stride = params.STRIDE / 4u;
  let column = params.COLUMN / 4u;
  let last = params.M - 1u;
  let at0 = min(row + 0u, last) * stride + column;
  let at1 = min(row + 1u, last) * stride + column;
  let at2 = min(row + 2u, last) * stride + column;
  let at3 = min(row + 3u, last) * stride + column;
  let at4 = min(row + 4u, last) * stride + column;
  let at5 = min(row + 5u, last) * stride + column;
  let at6 = min(row + 6u, last) * stride + column;
  let at7 = min(row + 7u, last) * stride + column;
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
  let beside = min(left + 1u, K4 - 1u);
  for (var r = 0u; r < low_rank_fours(); r++) {
    let al0 = low_rank_A(r * 4u + 0u, left, K4);
    let ar0 = low_rank_A(r * 4u + 0u, beside, K4);
    let al1 = low_rank_A(r * 4u + 1u, left, K4);
    let ar1 = low_rank_A(r * 4u + 1u, beside, K4);
    let al2 = low_rank_A(r * 4u + 2u, left, K4);
    let ar2 = low_rank_A(r * 4u + 2u, beside, K4);
    let al3 = low_rank_A(r * 4u + 3u, left, K4);
    let ar3 = low_rank_A(r * 4u + 3u, beside, K4);
    let h0 = low_rank_hidden(row, r);
    l0 += al0 * h0.x + al1 * h0.y + al2 * h0.z + al3 * h0.w;
    r0 += ar0 * h0.x + ar1 * h0.y + ar2 * h0.z + ar3 * h0.w;
    let h1 = low_rank_hidden(min(row + 1u, last), r);
    l1 += al0 * h1.x + al1 * h1.y + al2 * h1.z + al3 * h1.w;
    r1 += ar0 * h1.x + ar1 * h1.y + ar2 * h1.z + ar3 * h1.w;
    let h2 = low_rank_hidden(min(row + 2u, last), r);
    l2 += al0 * h2.x + al1 * h2.y + al2 * h2.z + al3 * h2.w;
    r2 += ar0 * h2.x + ar1 * h2.y + ar2 * h2.z + ar3 * h2.w;
    let h3 = low_rank_hidden(min(row + 3u, last), r);
    l3 += al0 * h3.x + al1 * h3.y + al2 * h3.z + al3 * h3.w;
    r3 += ar0 * h3.x + ar1 * h3.y + ar2 * h3.z + ar3 * h3.w;
    let h4 = low_rank_hidden(min(row + 4u, last), r);
    l4 += al0 * h4.x + al1 * h4.y + al2 * h4.z + al3 * h4.w;
    r4 += ar0 * h4.x + ar1 * h4.y + ar2 * h4.z + ar3 * h4.w;
    let h5 = low_rank_hidden(min(row + 5u, last), r);
    l5 += al0 * h5.x + al1 * h5.y + al2 * h5.z + al3 * h5.w;
    r5 += ar0 * h5.x + ar1 * h5.y + ar2 * h5.z + ar3 * h5.w;
    let h6 = low_rank_hidden(min(row + 6u, last), r);
    l6 += al0 * h6.x + al1 * h6.y + al2 * h6.z + al3 * h6.w;
    r6 += ar0 * h6.x + ar1 * h6.y + ar2 * h6.z + ar3 * h6.w;
    let h7 = low_rank_hidden(min(row + 7u, last), r);
    l7 += al0 * h7.x + al1 * h7.y + al2 * h7.z + al3 * h7.w;
    r7 += ar0 * h7.x + ar1 * h7.y + ar2 * h7.z + ar3 * h7.w;
  }
  if (low_rank_fours() > 0u) {
    let stream = dropout_stream(params.place);
    let k0 = row * K4;
    l0 *= keep4(stream, (k0 + left) * 4u);
    r0 *= keep4(stream, (k0 + beside) * 4u);
    let k1 = min(row + 1u, last) * K4;
    l1 *= keep4(stream, (k1 + left) * 4u);
    r1 *= keep4(stream, (k1 + beside) * 4u);
    let k2 = min(row + 2u, last) * K4;
    l2 *= keep4(stream, (k2 + left) * 4u);
    r2 *= keep4(stream, (k2 + beside) * 4u);
    let k3 = min(row + 3u, last) * K4;
    l3 *= keep4(stream, (k3 + left) * 4u);
    r3 *= keep4(stream, (k3 + beside) * 4u);
    let k4 = min(row + 4u, last) * K4;
    l4 *= keep4(stream, (k4 + left) * 4u);
    r4 *= keep4(stream, (k4 + beside) * 4u);
    let k5 = min(row + 5u, last) * K4;
    l5 *= keep4(stream, (k5 + left) * 4u);
    r5 *= keep4(stream, (k5 + beside) * 4u);
    let k6 = min(row + 6u, last) * K4;
    l6 *= keep4(stream, (k6 + left) * 4u);
    r6 *= keep4(stream, (k6 + beside) * 4u);
    let k7 = min(row + 7u, last) * K4;
    l7 *= keep4(stream, (k7 + left) * 4u);
    r7 *= keep4(stream, (k7 + beside) * 4u);
  }
  for (var n = 0u; n < params.N; n += 4u) {
    let n4 = n / 4u;
    let d0 = dy[at0 + n4];
    let d1 = dy[at1 + n4];
    let d2 = dy[at2 + n4];
    let d3 = dy[at3 + n4];
    let d4 = dy[at4 + n4];
    let d5 = dy[at5 + n4];
    let d6 = dy[at6 + n4];
    let d7 = dy[at7 + n4];
    let p0 = weight8(n * K4 + left);
    let p1 = weight8(min(n + 1u, params.N - 1u) * K4 + left);
    let p2 = weight8(min(n + 2u, params.N - 1u) * K4 + left);
    let p3 = weight8(min(n + 3u, params.N - 1u) * K4 + left);
    let wl = mat4x4<f32>(p0[0], p1[0], p2[0], p3[0]);
    let wr = mat4x4<f32>(p0[1], p1[1], p2[1], p3[1]);
    l0 += wl * d0;
    r0 += wr * d0;
    l1 += wl * d1;
    r1 += wr * d1;
    l2 += wl * d2;
    r2 += wr * d2;
    l3 += wl * d3;
    r3 += wr * d3;
    l4 += wl * d4;
    r4 += wr * d4;
    l5 += wl * d5;
    r5 += wr * d5;
    l6 += wl * d6;
    r6 += wr * d6;
    l7 += wl * d7;
    r7 += wr * d7;
  }
  let both = left + 1u < K4;
  store(row + 0u, left, l0, r0, both);
  store(row + 1u, left, l1, r1, both);
  store(row + 2u, left, l2, r2, both);
  store(row + 3u, left, l3, r3, both);
  store(row + 4u, left, l4, r4, both);
  store(row + 5u, left, l5, r5, both);
  store(row + 6u, left, l6, r6, both);
  store(row + 7u, left, l7, r7, both);
}
