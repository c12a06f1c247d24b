// swiglu_backward: with s = sigmoid(gate), dgate = dh * up * s * (1 + gate * (1 - s)) and dup = dh * gate * s; then dh is overwritten by
// h = gate * s * up, recomputed here for the gradients of down_proj's own tensors, so that forward need not keep it.
// Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202, eq. 6.
//
//   dgu  (M, 2 F) f32  write       dgate in the first F columns, dup in the last F
//   dh   (M, F)   f32  read+write  gradient of h, then h
//   gate (M, F)   f32  read
//   up   (M, F)   f32  read
//
// dispatch: one thread for 4 numbers; F is a multiple of 4.

override WG: u32 = 32u; // threads per workgroup
override F: u32;        // MLP width

struct Params { first: u32, M: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dgu: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dh: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gate: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> up: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + params.first) * WG + lane;
  let F4 = F / 4u;
  if (i >= params.M * F4) { return; }
  let g = gate[i];
  let u = up[i];
  let d = dh[i];
  let s = 1.0 / (1.0 + exp(-g));
  let at = (i / F4) * 2u * F4 + i % F4;
  dgu[at] = d * u * s * (1.0 + g * (1.0 - s));
  dgu[at + F4] = d * g * s;
  dh[i] = g * s * u;
}
