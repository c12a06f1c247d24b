// linear_forward_wide: linear_forward in a tile of 8 rows x 8 columns a thread: each x is read half as often, for twice the registers. Bindings and the order of
// each sum are those of linear_forward, so the bits are too; which of the two is faster is measured on the device (tuning.ts).
//
// The 64 threads of a workgroup stand `tall` tiles high and 64 / tall wide.
// dispatch: x: ceil(N / 8 / (64 / tall)), y: ceil(M / 8 / tall).

struct Params { first: u32, rows: u32, N: u32, stride4: u32, column4: u32, tall: u32, ranks4: u32, hidden4: u32, rank: u32, index: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

override K: u32; // input features, a multiple of 4

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let N = params.N;
  let wide = 64u / params.tall;
  let column = ((wg.x + params.first) * wide + local.x % wide) * 2u; // of fours
  let row = (wg.y * params.tall + local.x / wide) * 8u;
  if (column * 4u >= N || row >= params.rows) { return; }

  let K4 = K / 4u;
  // Past the edge the last row is read again, and what comes of it is not written.
  let w0 = column * 4u * K4;
  let w1 = min(column * 4u + 1u, N - 1u) * K4;
  let w2 = min(column * 4u + 2u, N - 1u) * K4;
  let w3 = min(column * 4u + 3u, N - 1u) * K4;
  let w4 = min(column * 4u + 4u, N - 1u) * K4;
  let w5 = min(column * 4u + 5u, N - 1u) * K4;
  let w6 = min(column * 4u + 6u, N - 1u) * K4;
  let w7 = min(column * 4u + 7u, N - 1u) * K4;
  let last = params.rows - 1u;
  let x0 = row * K4;
  let x1 = min(row + 1u, last) * K4;
  let x2 = min(row + 2u, last) * K4;
  let x3 = min(row + 3u, last) * K4;
  let x4 = min(row + 4u, last) * K4;
  let x5 = min(row + 5u, last) * K4;
  let x6 = min(row + 6u, last) * K4;
  let x7 = min(row + 7u, last) * K4;
  var a0 = vec4<f32>();
  var b0 = vec4<f32>();
  var a1 = vec4<f32>();
  var b1 = vec4<f32>();
  var a2 = vec4<f32>();
  var b2 = vec4<f32>();
  var a3 = vec4<f32>();
  var b3 = vec4<f32>();
  var a4 = vec4<f32>();
  var b4 = vec4<f32>();
  var a5 = vec4<f32>();
  var b5 = vec4<f32>();
  var a6 = vec4<f32>();
  var b6 = vec4<f32>();
  var a7 = vec4<f32>();
  var b7 = vec4<f32>();
  for (var k = 0u; k + 1u < K4; k += 2u) {
    let p0 = weight8(w0 + k);
    let p1 = weight8(w1 + k);
    let p2 = weight8(w2 + k);
    let p3 = weight8(w3 + k);
    let p4 = weight8(w4 + k);
    let p5 = weight8(w5 + k);
    let p6 = weight8(w6 + k);
    let p7 = weight8(w7 + k);
    let v = transpose(mat4x4<f32>(p0[0], p1[0], p2[0], p3[0]));
    let w = transpose(mat4x4<f32>(p0[1], p1[1], p2[1], p3[1]));
    let s = transpose(mat4x4<f32>(p4[0], p5[0], p6[0], p7[0]));
    let t = transpose(mat4x4<f32>(p4[1], p5[1], p6[1], p7[1]));
    let c0 = x[x0 + k];
    let d0 = x[x0 + k + 1u];
    a0 += v * c0;
    a0 += w * d0;
    b0 += s * c0;
    b0 += t * d0;
    let c1 = x[x1 + k];
    let d1 = x[x1 + k + 1u];
    a1 += v * c1;
    a1 += w * d1;
    b1 += s * c1;
    b1 += t * d1;
    let c2 = x[x2 + k];
    let d2 = x[x2 + k + 1u];
    a2 += v * c2;
    a2 += w * d2;
    b2 += s * c2;
    b2 += t * d2;
    let c3 = x[x3 + k];
    let d3 = x[x3 + k + 1u];
    a3 += v * c3;
    a3 += w * d3;
    b3 += s * c3;
    b3 += t * d3;
    let c4 = x[x4 + k];
    let d4 = x[x4 + k + 1u];
    a4 += v * c4;
    a4 += w * d4;
    b4 += s * c4;
    b4 += t * d4;
    let c5 = x[x5 + k];
    let d5 = x[x5 + k + 1u];
    a5 += v * c5;
    a5 += w * d5;
    b5 += s * c5;
    b5 += t * d5;
    let c6 = x[x6 + k];
    let d6 = x[x6 + k + 1u];
    a6 += v * c6;
    a6 += w * d6;
    b6 += s * c6;
    b6 += t * d6;
    let c7 = x[x7 + k];
    let d7 = x[x7 + k + 1u];
    a7 += v * c7;
    a7 += w * d7;
    b7 += s * c7;
    b7 += t * d7;
  }
  if (K4 % 2u == 1u) {
    let k = K4 - 1u;
    let v = transpose(mat4x4<f32>(weight4(w0 + k), weight4(w1 + k), weight4(w2 + k), weight4(w3 + k)));
    let s = transpose(mat4x4<f32>(weight4(w4 + k), weight4(w5 + k), weight4(w6 + k), weight4(w7 + k)));
    a0 += v * x[x0 + k];
    b0 += s * x[x0 + k];
    a1 += v * x[x1 + k];
    b1 += s * x[x1 + k];
    a2 += v * x[x2 + k];
    b2 += s * x[x2 + k];
    a3 += v * x[x3 + k];
    b3 += s * x[x3 + k];
    a4 += v * x[x4 + k];
    b4 += s * x[x4 + k];
    a5 += v * x[x5 + k];
    b5 += s * x[x5 + k];
    a6 += v * x[x6 + k];
    b6 += s * x[x6 + k];
    a7 += v * x[x7 + k];
    b7 += s * x[x7 + k];
  }
  for (var r = 0u; r < low_rank_fours(); r++) {
    let v = low_rank_up(column, r);
    let s = low_rank_up(column + 1u, r);
    let h0 = low_rank_hidden(min(row + 0u, last), r);
    a0 += v * h0;
    b0 += s * h0;
    let h1 = low_rank_hidden(min(row + 1u, last), r);
    a1 += v * h1;
    b1 += s * h1;
    let h2 = low_rank_hidden(min(row + 2u, last), r);
    a2 += v * h2;
    b2 += s * h2;
    let h3 = low_rank_hidden(min(row + 3u, last), r);
    a3 += v * h3;
    b3 += s * h3;
    let h4 = low_rank_hidden(min(row + 4u, last), r);
    a4 += v * h4;
    b4 += s * h4;
    let h5 = low_rank_hidden(min(row + 5u, last), r);
    a5 += v * h5;
    b5 += s * h5;
    let h6 = low_rank_hidden(min(row + 6u, last), r);
    a6 += v * h6;
    b6 += s * h6;
    let h7 = low_rank_hidden(min(row + 7u, last), r);
    a7 += v * h7;
    b7 += s * h7;
  }
  let more = column * 4u + 4u < N;
  let y0 = row * params.stride4 + params.column4 + column;
  let step = params.stride4;
  y[y0] = start(y0) + a0;
  if (more) { y[y0 + 1u] = start(y0 + 1u) + b0; }
  if (row + 1u <= last) {
    y[y0 + 1u * step] = start(y0 + 1u * step) + a1;
    if (more) { y[y0 + 1u * step + 1u] = start(y0 + 1u * step + 1u) + b1; }
  }
  if (row + 2u <= last) {
    y[y0 + 2u * step] = start(y0 + 2u * step) + a2;
    if (more) { y[y0 + 2u * step + 1u] = start(y0 + 2u * step + 1u) + b2; }
  }
  if (row + 3u <= last) {
    y[y0 + 3u * step] = start(y0 + 3u * step) + a3;
    if (more) { y[y0 + 3u * step + 1u] = start(y0 + 3u * step + 1u) + b3; }
  }
  if (row + 4u <= last) {
    y[y0 + 4u * step] = start(y0 + 4u * step) + a4;
    if (more) { y[y0 + 4u * step + 1u] = start(y0 + 4u * step + 1u) + b4; }
  }
  if (row + 5u <= last) {
    y[y0 + 5u * step] = start(y0 + 5u * step) + a5;
    if (more) { y[y0 + 5u * step + 1u] = start(y0 + 5u * step + 1u) + b5; }
  }
  if (row + 6u <= last) {
    y[y0 + 6u * step] = start(y0 + 6u * step) + a6;
    if (more) { y[y0 + 6u * step + 1u] = start(y0 + 6u * step + 1u) + b6; }
  }
  if (row + 7u <= last) {
    y[y0 + 7u * step] = start(y0 + 7u * step) + a7;
    if (more) { y[y0 + 7u * step + 1u] = start(y0 + 7u * step + 1u) + b7; }
  }
}
