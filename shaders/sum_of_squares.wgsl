// sum_of_squares: partials[AT + p] = the sum of g[i]^2 over every THREADS-th four numbers from the p-th on, in order. clip_coefficient adds them up.
//
//   partials (any)   f32  write  this buffer's places are AT to AT + THREADS - 1
//   g       (N)     f32  read   all gradients of one buffer
//
// dispatch: THREADS threads; x: THREADS / WG. N is a multiple of 4.

struct Params { first: u32, N: u32, THREADS: u32, AT: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<vec4<f32>>;

override WG: u32 = 32u; // threads per workgroup

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let p = (group.x + params.first) * WG + lane;
  if (p >= params.THREADS) { return; }
  var sum = vec4<f32>();
  for (var i = p; i < params.N / 4u; i += params.THREADS) { sum += g[i] * g[i]; }
  partials[params.AT + p] = (sum.x + sum.y) + (sum.z + sum.w);
}
