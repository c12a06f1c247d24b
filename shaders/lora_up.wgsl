// lora_up: y[m, n] += scales[index] * sum_r h[m, at + r] * B[n, r]
// Hu et al. 2021, "LoRA", arXiv:2106.09685, eq. 3: the B half of one site.
//
//   y      (M, N)  f32  read, write
//   h      (M, R)  f32  read   of lora_down; this site's columns are at to at + rank - 1
//   B      (N, rank)  f32  read
//   scales (sites) f32  read   scale times strength, written before a run
//
// dispatch: one thread owns 4 rows x 4 columns; x: ceil(N / 4 * ceil(M / 4) / 64), columns fastest.

struct Params { first: u32, rows: u32, N: u32, R: u32, at: u32, rank: u32, index: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> h: array<f32>;
@group(0) @binding(3) var<storage, read> B: array<f32>;
@group(0) @binding(4) var<storage, read> scales: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let index = (wg.x + params.first) * 64u + local.x;
  let N4 = params.N / 4u; // output features, a multiple of 4
  let column = index % N4;
  let row = (index / N4) * 4u;
  if (row >= params.rows) { return; }
  let last = params.rows - 1u;
  let rank = params.rank;
  let B0 = column * 4u * rank;
  let h0 = row * params.R + params.at;
  let h1 = min(row + 1u, last) * params.R + params.at;
  let h2 = min(row + 2u, last) * params.R + params.at;
  let h3 = min(row + 3u, last) * params.R + params.at;
  var y0 = vec4<f32>();
  var y1 = vec4<f32>();
  var y2 = vec4<f32>();
  var y3 = vec4<f32>();
  for (var r = 0u; r < rank; r++) {
    let b = vec4<f32>(B[B0 + r], B[B0 + rank + r], B[B0 + 2u * rank + r], B[B0 + 3u * rank + r]);
    y0 += h[h0 + r] * b;
    y1 += h[h1 + r] * b;
    y2 += h[h2 + r] * b;
    y3 += h[h3 + r] * b;
  }
  let scale = scales[params.index];
  let at = row * N4 + column;
  y[at] += scale * y0;
  if (row + 1u <= last) { y[at + N4] += scale * y1; }
  if (row + 2u <= last) { y[at + 2u * N4] += scale * y2; }
  if (row + 3u <= last) { y[at + 3u * N4] += scale * y3; }
}
