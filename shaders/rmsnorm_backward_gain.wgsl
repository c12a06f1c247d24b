// rmsnorm_backward_gain: dw[c] += sum_m dy[m, c] * x[m, c] * rstd[m]
// Zhang & Sennrich 2019, arXiv:1910.07467: the derivative of eq. 4 by its gain, summed over the rows in order.
//
//   dw   (C)    f32  read+write
//   dy   (M, C) f32  read        gradient of the normalized activations
//   x    (M, C) f32  read        what was normalized
//   rstd (M)    f32  read        kept by rmsnorm_forward
//
// dispatch: one thread for 4 channels; C is a multiple of 4.

override WG: u32 = 32u; // threads per workgroup
override C: u32;        // channels

struct Params { first: u32, M: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dw: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> rstd: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let c = (group.x + params.first) * WG + lane;
  let C4 = C / 4u;
  if (c >= C4) { return; }
  var sum = vec4<f32>();
  for (var m = 0u; m < params.M; m++) { sum += dy[m * C4 + c] * x[m * C4 + c] * rstd[m]; }
  dw[c] += sum;
}
