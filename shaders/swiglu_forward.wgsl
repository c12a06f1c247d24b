// swiglu_forward: y = silu(gate) * up,  silu(g) = g / (1 + exp(-g))
// Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202, eq. 6.
//
//   y        (M, F) f32  write
//   gate, up (M, F) f32  read
//
// dispatch: one thread owns four numbers; x: ceil(M * F / 4 / 64).

struct Params { first: u32, count4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gate: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> up: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let i = (wg.x + params.first) * 64u + local.x;
  if (i >= params.count4) { return; }
  let g = gate[i];
  y[i] = g / (1.0 + exp(-g)) * up[i];
}
