// rmsnorm_forward: y[m, c] = x[m, c] * rstd[m] * w[c],  rstd[m] = 1 / sqrt(mean_c(x[m, c]^2) + EPS)
// Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", arXiv:1910.07467, eq. 4.
//
//   y    (M, C) f32  write
//   rstd (M)    f32  write  kept for rmsnorm_backward
//   x    (M, C) f32  read
//   w    (C)    f32  read
//
// dispatch: one thread owns one row; x: ceil(M / WG).

struct Params { first: u32, rows: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> w: array<vec4<f32>>;

override WG: u32 = 32u; // threads a workgroup
override C: u32;        // channels, a multiple of 4
override EPS: f32;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let m = (wg.x + params.first) * WG + local.x;
  if (m >= params.rows) { return; }
  let C4 = C / 4u;
  let row = m * C4;
  var squares = vec4<f32>();
  for (var c = 0u; c < C4; c++) {
    let value = x[row + c];
    squares += value * value;
  }
  let scale = 1.0 / sqrt((squares.x + squares.y + squares.z + squares.w) / f32(C) + EPS);
  rstd[m] = scale;
  for (var c = 0u; c < C4; c++) { y[row + c] = x[row + c] * scale * w[c]; }
}
