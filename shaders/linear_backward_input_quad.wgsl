// linear_backward_input_quad: linear_backward_input in a tile of 16 rows x 8 columns a thread, four threads side by side (_quad): each reads four rows of dy for
// all. Bindings, params and the order of each sum are those of linear_backward_input, so the bits are too; whether it is faster is measured (tuning.ts).
//
// dispatch: one thread for 16 rows x 8 columns of dx, columns fastest, the columns of a row filled up to whole quads: ceil(M / 16) * ceil(K / 32) * 4 threads.

override WG: u32 = 32u; // threads per workgroup, a multiple of 4

struct Params {
  first: u32, M: u32, N: u32, K: u32, STRIDE: u32, COLUMN: u32, ACCUMULATE: u32,
  ranks4: u32, hidden4: u32, rank: u32, place: u32, THRESHOLD: u32, KEEP: f32, // of a low-rank part and its dropout: see _lora
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;

/** Four rows of the tile, a column each: sum + w d. */
fn add(sum: mat4x4<f32>, w: mat4x4<f32>, d: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(sum[0] + w * d[0], sum[1] + w * d[1], sum[2] + w * d[2], sum[3] + w * d[3]);
}
/** Four rows from `row` on, as dropout leaves them. */
fn dropped(sum: mat4x4<f32>, stream: u32, row: u32, at: u32, K4: u32) -> mat4x4<f32> {
  let last = params.M - 1u;
  return mat4x4<f32>(
    sum[0] * keep4(stream, (min(row, last) * K4 + at) * 4u),
    sum[1] * keep4(stream, (min(row + 1u, last) * K4 + at) * 4u),
    sum[2] * keep4(stream, (min(row + 2u, last) * K4 + at) * 4u),
    sum[3] * keep4(stream, (min(row + 3u, last) * K4 + at) * 4u),
  );
}
fn store(row: u32, at: u32, left: vec4<f32>, right: vec4<f32>) {
  let K4 = params.K / 4u;
  if (row >= params.M || at >= K4) { return; }
  let i = row * K4 + at;
  let both = at + 1u < K4;
  if (params.ACCUMULATE == 1u) {
    dx[i] += left;
    if (both) { dx[i + 1u] += right; }
  } else {
    dx[i] = left;
    if (both) { dx[i + 1u] = right; }
  }
}
fn store4(row: u32, at: u32, left: mat4x4<f32>, right: mat4x4<f32>) {
  store(row, at, left[0], right[0]);
  store(row + 1u, at, left[1], right[1]);
  store(row + 2u, at, left[2], right[2]);
  store(row + 3u, at, left[3], right[3]);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let K4 = params.K / 4u;
  let quads = (K4 + 7u) / 8u;
  let quad = (group.x + params.first) * (WG / 4u) + local / 4u;
  let lane = local % 4u;
  let row = quad / quads * 16u;
  if (row >= params.M) { return; }
  let left = quad % quads * 8u + lane * 2u;
  let inside = min(left, K4 - 1u); // past the edge the last columns are read again, and what comes of them is not written
  let beside = min(left + 1u, K4 - 1u);
  let stride = params.STRIDE / 4u;
  let column = params.COLUMN / 4u;
  let last = params.M - 1u;
  // This thread's row of each four.
  let row0 = min(row + lane, last);
  let row1 = min(row + 4u + lane, last);
  let row2 = min(row + 8u + lane, last);
  let row3 = min(row + 12u + lane, last);
  var l0 = mat4x4<f32>();
  var r0 = mat4x4<f32>();
  var l1 = mat4x4<f32>();
  var r1 = mat4x4<f32>();
  var l2 = mat4x4<f32>();
  var r2 = mat4x4<f32>();
  var l3 = mat4x4<f32>();
  var r3 = mat4x4<f32>();
  for (var r = 0u; r < low_rank_fours(); r++) {
    let rank = r * 4u;
    let al = mat4x4<f32>(
      low_rank_A(rank, inside, K4), low_rank_A(rank + 1u, inside, K4), low_rank_A(rank + 2u, inside, K4), low_rank_A(rank + 3u, inside, K4),
    );
    let ar = mat4x4<f32>(
      low_rank_A(rank, beside, K4), low_rank_A(rank + 1u, beside, K4), low_rank_A(rank + 2u, beside, K4), low_rank_A(rank + 3u, beside, K4),
    );
    let h0 = of_all(low_rank_hidden(row0, r));
    l0 = add(l0, al, h0);
    r0 = add(r0, ar, h0);
    let h1 = of_all(low_rank_hidden(row1, r));
    l1 = add(l1, al, h1);
    r1 = add(r1, ar, h1);
    let h2 = of_all(low_rank_hidden(row2, r));
    l2 = add(l2, al, h2);
    r2 = add(r2, ar, h2);
    let h3 = of_all(low_rank_hidden(row3, r));
    l3 = add(l3, al, h3);
    r3 = add(r3, ar, h3);
  }
  if (low_rank_fours() > 0u) {
    let stream = dropout_stream(params.place);
    l0 = dropped(l0, stream, row, inside, K4);
    r0 = dropped(r0, stream, row, beside, K4);
    l1 = dropped(l1, stream, row + 4u, inside, K4);
    r1 = dropped(r1, stream, row + 4u, beside, K4);
    l2 = dropped(l2, stream, row + 8u, inside, K4);
    r2 = dropped(r2, stream, row + 8u, beside, K4);
    l3 = dropped(l3, stream, row + 12u, inside, K4);
    r3 = dropped(r3, stream, row + 12u, beside, K4);
  }
  for (var n = 0u; n < params.N; n += 4u) {
    let at = column + n / 4u;
    let p0 = weight8(n * K4 + inside);
    let p1 = weight8(min(n + 1u, params.N - 1u) * K4 + inside);
    let p2 = weight8(min(n + 2u, params.N - 1u) * K4 + inside);
    let p3 = weight8(min(n + 3u, params.N - 1u) * K4 + inside);
    let wl = mat4x4<f32>(p0[0], p1[0], p2[0], p3[0]);
    let wr = mat4x4<f32>(p0[1], p1[1], p2[1], p3[1]);
    let d0 = of_all(dy[row0 * stride + at]);
    l0 = add(l0, wl, d0);
    r0 = add(r0, wr, d0);
    let d1 = of_all(dy[row1 * stride + at]);
    l1 = add(l1, wl, d1);
    r1 = add(r1, wr, d1);
    let d2 = of_all(dy[row2 * stride + at]);
    l2 = add(l2, wl, d2);
    r2 = add(r2, wr, d2);
    let d3 = of_all(dy[row3 * stride + at]);
    l3 = add(l3, wl, d3);
    r3 = add(r3, wr, d3);
  }
  store4(row, left, l0, r0);
  store4(row + 4u, left, l1, r1);
  store4(row + 8u, left, l2, r2);
  store4(row + 12u, left, l3, r3);
}
