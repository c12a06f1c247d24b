// rmsnorm_backward: dx[m, c] += rstd[m] * (w[c] * dy[m, c] - x[m, c] * rstd[m]^2 * mean_c(w[c] * dy[m, c] * x[m, c]))
// Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", arXiv:1910.07467: the derivative of eq. 4.
//
//   dx   (M, C) f32  read+write  gradient of the residual stream, added to
//   dy   (M, C) f32  read        gradient of the normalized activations
//   x    (M, C) f32  read        what was normalized
//   rstd (M)    f32  read        kept by rmsnorm_forward
//   w    (C)    f32  read        gain
//
// dispatch: one thread a row; C is a multiple of 4.

override WG: u32 = 32u; // threads per workgroup
override C: u32;        // channels
override ACCUMULATE: bool = true; // false for the first gradient of the residual stream: dx is written, not added to

struct Params { first: u32, M: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> rstd: array<f32>;
@group(0) @binding(5) var<storage, read> w: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let m = (group.x + params.first) * WG + lane;
  if (m >= params.M) { return; }
  let C4 = C / 4u;
  let row = m * C4;
  var sums = vec4<f32>();
  for (var c = 0u; c < C4; c++) { sums += w[c] * dy[row + c] * x[row + c]; }
  let r = rstd[m];
  let mean = (sums.x + sums.y + sums.z + sums.w) / f32(C);
  let pull = r * r * mean;
  for (var c = 0u; c < C4; c++) {
    let gradient = r * (w[c] * dy[row + c] - x[row + c] * pull);
    if (ACCUMULATE) { dx[row + c] += gradient; } else { dx[row + c] = gradient; }
  }
}
