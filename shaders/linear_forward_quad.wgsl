// linear_forward_quad: linear_forward in a tile of 16 rows x 8 columns a thread, four threads side by side (_quad): each reads four of the rows for all. Bindings
// and the order of each sum are those of linear_forward, so the bits are too; whether it is faster is measured on the device (tuning.ts). On SwiftShader, where
// reading takes longer than adding, 1.6 times the speed of linear_forward_wide.
//
// The 16 quads of a workgroup stand `tall` tiles high and 16 / tall wide. Sizes are params, so that one compiled kernel serves every linear.
// dispatch: x: ceil(N / 32 / (16 / tall)), y: ceil(M / 16 / tall).

struct Params { first: u32, rows: u32, N: u32, stride4: u32, column4: u32, tall: u32, K: u32, ranks4: u32, hidden4: u32, rank: u32, index: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

/** Four rows of the tile, a column each: sum + w x. */
fn add(sum: mat4x4<f32>, w: mat4x4<f32>, x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(sum[0] + w * x[0], sum[1] + w * x[1], sum[2] + w * x[2], sum[3] + w * x[3]);
}
fn store(row: u32, column: u32, left: vec4<f32>, right: vec4<f32>) {
  if (row >= params.rows || column * 4u >= params.N) { return; }
  let at = row * params.stride4 + params.column4 + column;
  y[at] = start(at) + left;
  if (column * 4u + 4u < params.N) { y[at + 1u] = start(at + 1u) + right; }
}
fn store4(row: u32, column: u32, left: mat4x4<f32>, right: mat4x4<f32>) {
  store(row, column, left[0], right[0]);
  store(row + 1u, column, left[1], right[1]);
  store(row + 2u, column, left[2], right[2]);
  store(row + 3u, column, left[3], right[3]);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let N = params.N;
  let wide = 16u / params.tall;
  let quad = local / 4u;
  let lane = local % 4u;
  let row = (wg.y * params.tall + quad / wide) * 16u;
  let quads_before = (wg.x + params.first) * wide + quad % wide;
  if (row >= params.rows || quads_before * 32u >= N) { return; }
  let column = quads_before * 8u + lane * 2u; // of fours

  let K4 = params.K / 4u;
  // Past the edge the last row is read again, and what comes of it is not written.
  let w0 = min(column * 4u, N - 1u) * K4;
  let w1 = min(column * 4u + 1u, N - 1u) * K4;
  let w2 = min(column * 4u + 2u, N - 1u) * K4;
  let w3 = min(column * 4u + 3u, N - 1u) * K4;
  let w4 = min(column * 4u + 4u, N - 1u) * K4;
  let w5 = min(column * 4u + 5u, N - 1u) * K4;
  let w6 = min(column * 4u + 6u, N - 1u) * K4;
  let w7 = min(column * 4u + 7u, N - 1u) * K4;
  // This thread's row of each four.
  let last = params.rows - 1u;
  let row0 = min(row + lane, last);
  let row1 = min(row + 4u + lane, last);
  let row2 = min(row + 8u + lane, last);
  let row3 = min(row + 12u + lane, last);
  var a0 = mat4x4<f32>();
  var b0 = mat4x4<f32>();
  var a1 = mat4x4<f32>();
  var b1 = mat4x4<f32>();
  var a2 = mat4x4<f32>();
  var b2 = mat4x4<f32>();
  var a3 = mat4x4<f32>();
  var b3 = mat4x4<f32>();
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
    let c0 = of_all(x[row0 * K4 + k]);
    let d0 = of_all(x[row0 * K4 + k + 1u]);
    a0 = add(add(a0, v, c0), w, d0);
    b0 = add(add(b0, s, c0), t, d0);
    let c1 = of_all(x[row1 * K4 + k]);
    let d1 = of_all(x[row1 * K4 + k + 1u]);
    a1 = add(add(a1, v, c1), w, d1);
    b1 = add(add(b1, s, c1), t, d1);
    let c2 = of_all(x[row2 * K4 + k]);
    let d2 = of_all(x[row2 * K4 + k + 1u]);
    a2 = add(add(a2, v, c2), w, d2);
    b2 = add(add(b2, s, c2), t, d2);
    let c3 = of_all(x[row3 * K4 + k]);
    let d3 = of_all(x[row3 * K4 + k + 1u]);
    a3 = add(add(a3, v, c3), w, d3);
    b3 = add(add(b3, s, c3), t, d3);
  }
  if (K4 % 2u == 1u) {
    let k = K4 - 1u;
    let v = transpose(mat4x4<f32>(weight4(w0 + k), weight4(w1 + k), weight4(w2 + k), weight4(w3 + k)));
    let s = transpose(mat4x4<f32>(weight4(w4 + k), weight4(w5 + k), weight4(w6 + k), weight4(w7 + k)));
    let c0 = of_all(x[row0 * K4 + k]);
    a0 = add(a0, v, c0);
    b0 = add(b0, s, c0);
    let c1 = of_all(x[row1 * K4 + k]);
    a1 = add(a1, v, c1);
    b1 = add(b1, s, c1);
    let c2 = of_all(x[row2 * K4 + k]);
    a2 = add(a2, v, c2);
    b2 = add(b2, s, c2);
    let c3 = of_all(x[row3 * K4 + k]);
    a3 = add(a3, v, c3);
    b3 = add(b3, s, c3);
  }
  for (var r = 0u; r < low_rank_fours(); r++) {
    let v = low_rank_up(column, r);
    let s = low_rank_up(column + 1u, r);
    let h0 = of_all(low_rank_hidden(row0, r));
    a0 = add(a0, v, h0);
    b0 = add(b0, s, h0);
    let h1 = of_all(low_rank_hidden(row1, r));
    a1 = add(a1, v, h1);
    b1 = add(b1, s, h1);
    let h2 = of_all(low_rank_hidden(row2, r));
    a2 = add(a2, v, h2);
    b2 = add(b2, s, h2);
    let h3 = of_all(low_rank_hidden(row3, r));
    a3 = add(a3, v, h3);
    b3 = add(b3, s, h3);
  }
  store4(row, column, a0, b0);
  store4(row + 4u, column, a1, b1);
  store4(row + 8u, column, a2, b2);
  store4(row + 12u, column, a3, b3);
}
