// linear_forward: y[m, n] = start[m, n] + sum_k x[m, k] * w[n, k],  start 0 or the residual stream (_start_zero, _start_residual)
//
//   y       (M, *) f32    write   columns 4 * column4 to 4 * column4 + N - 1 of rows that are stride4 vec4s apart; N is rounded up to 4
//   x       (M, K) f32    read
//   weights (N, K) shard  read    through a weight reader
//   residual, of y's shape        only with _start_residual
//   h, B, scales                  only with _low_rank: y += scale * B h, in the same tile
//
// No workgroup memory and no barrier: a register tile of 8 rows x 4 columns a thread, the four weight rows turned by one transpose. Written out, since
// the same tile in loops runs at 0.6 of the speed on SwiftShader. The order of a sum depends on K alone, as in linear_forward_few.
// The 64 threads of a workgroup stand `tall` tiles high and 64 / tall wide, so that few rows leave none of them idle.
// dispatch: x: ceil(N / 4 / (64 / tall)), y: ceil(M / 8 / tall).

struct Params { first: u32, rows: u32, N: u32, stride4: u32, column4: u32, tall: u32, ranks4: u32, hidden4: u32, rank: u32, index: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

override K: u32; // input features, a multiple of 4

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let N = params.N;
  let wide = 64u / params.tall;
  let column = (wg.x + params.first) * wide + local.x % wide;
  let row = (wg.y * params.tall + local.x / wide) * 8u;
  if (column * 4u >= N || row >= params.rows) { return; }

  let K4 = K / 4u;
  // Past the edge the last row is read again, and what comes of it is not written.
  let w0 = column * 4u * K4;
  let w1 = min(column * 4u + 1u, N - 1u) * K4;
  let w2 = min(column * 4u + 2u, N - 1u) * K4;
  let w3 = min(column * 4u + 3u, N - 1u) * K4;
  let last = params.rows - 1u;
  let x0 = row * K4;
  let x1 = min(row + 1u, last) * K4;
  let x2 = min(row + 2u, last) * K4;
  let x3 = min(row + 3u, last) * K4;
  let x4 = min(row + 4u, last) * K4;
  let x5 = min(row + 5u, last) * K4;
  let x6 = min(row + 6u, last) * K4;
  let x7 = min(row + 7u, last) * K4;

  let y0 = row * params.stride4 + params.column4 + column;
  let step = params.stride4;
  var a0 = vec4<f32>();
  var a1 = vec4<f32>();
  var a2 = vec4<f32>();
  var a3 = vec4<f32>();
  var a4 = vec4<f32>();
  var a5 = vec4<f32>();
  var a6 = vec4<f32>();
  var a7 = vec4<f32>();
  for (var k = 0u; k + 1u < K4; k += 2u) {
    let p0 = weight8(w0 + k);
    let p1 = weight8(w1 + k);
    let p2 = weight8(w2 + k);
    let p3 = weight8(w3 + k);
    let v = transpose(mat4x4<f32>(p0[0], p1[0], p2[0], p3[0]));
    let w = transpose(mat4x4<f32>(p0[1], p1[1], p2[1], p3[1]));
    a0 += v * x[x0 + k];
    a0 += w * x[x0 + k + 1u];
    a1 += v * x[x1 + k];
    a1 += w * x[x1 + k + 1u];
    a2 += v * x[x2 + k];
    a2 += w * x[x2 + k + 1u];
    a3 += v * x[x3 + k];
    a3 += w * x[x3 + k + 1u];
    a4 += v * x[x4 + k];
    a4 += w * x[x4 + k + 1u];
    a5 += v * x[x5 + k];
    a5 += w * x[x5 + k + 1u];
    a6 += v * x[x6 + k];
    a6 += w * x[x6 + k + 1u];
    a7 += v * x[x7 + k];
    a7 += w * x[x7 + k + 1u];
  }
  if (K4 % 2u == 1u) {
    let k = K4 - 1u;
    let w = transpose(mat4x4<f32>(weight4(w0 + k), weight4(w1 + k), weight4(w2 + k), weight4(w3 + k)));
    a0 += w * x[x0 + k];
    a1 += w * x[x1 + k];
    a2 += w * x[x2 + k];
    a3 += w * x[x3 + k];
    a4 += w * x[x4 + k];
    a5 += w * x[x5 + k];
    a6 += w * x[x6 + k];
    a7 += w * x[x7 + k];
  }
  for (var r = 0u; r < low_rank_fours(); r++) {
    let w = low_rank_up(column, r);
    a0 += w * low_rank_hidden(min(row + 0u, last), r);
    a1 += w * low_rank_hidden(min(row + 1u, last), r);
    a2 += w * low_rank_hidden(min(row + 2u, last), r);
    a3 += w * low_rank_hidden(min(row + 3u, last), r);
    a4 += w * low_rank_hidden(min(row + 4u, last), r);
    a5 += w * low_rank_hidden(min(row + 5u, last), r);
    a6 += w * low_rank_hidden(min(row + 6u, last), r);
    a7 += w * low_rank_hidden(min(row + 7u, last), r);
  }
  y[y0] = start(y0) + a0;
  if (row + 1u <= last) { y[y0 + step] = start(y0 + step) + a1; }
  if (row + 2u <= last) { y[y0 + 2u * step] = start(y0 + 2u * step) + a2; }
  if (row + 3u <= last) { y[y0 + 3u * step] = start(y0 + 3u * step) + a3; }
  if (row + 4u <= last) { y[y0 + 4u * step] = start(y0 + 4u * step) + a4; }
  if (row + 5u <= last) { y[y0 + 5u * step] = start(y0 + 5u * step) + a5; }
  if (row + 6u <= last) { y[y0 + 6u * step] = start(y0 + 6u * step) + a6; }
  if (row + 7u <= last) { y[y0 + 7u * step] = start(y0 + 7u * step) + a7; }
}
