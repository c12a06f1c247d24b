// attention_backward_delta: delta[m, h] = sum_e dO[m, h, e] * o[m, h, e]
// Dao 2023, "FlashAttention-2", arXiv:2307.08691, algorithm 2, line 4 (D there).
//
//   delta (M, NH)     f32  write
//   dO    (M, NH, HS) f32  read   gradient of the attention's output
//   o     (M, NH, HS) f32  read   the attention's output
//
// dispatch: one thread a row and head; HS is a multiple of 4.

override WG: u32 = 32u; // threads per workgroup
override NH: u32;       // query heads
override HS: u32;       // head size

struct Params { first: u32, M: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> delta: array<f32>;
@group(0) @binding(2) var<storage, read> dO: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> o: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + params.first) * WG + lane;
  if (i >= params.M * NH) { return; }
  let H4 = HS / 4u;
  var sum = 0.0;
  for (var e = 0u; e < H4; e++) { sum += dot(dO[i * H4 + e], o[i * H4 + e]); }
  delta[i] = sum;
}
