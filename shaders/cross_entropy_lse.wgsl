// cross_entropy_lse: lse[row] = log sum_v exp(logits[row, v]), from the runs of log_sum_exp in order
// Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", arXiv:1805.02867, eq. 4: two runs join by the larger of their maxima.
//
//   lse     (M)             f32  write
//   partials (M, PIECES, 2)  f32  read   each run's largest logit, and its sum of exp(logit - largest)
//
// dispatch: one thread a row.

struct Params { first: u32, M: u32, PIECES: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> lse: array<f32>;
@group(0) @binding(2) var<storage, read> partials: array<vec2<f32>>;

override WG: u32 = 32u; // threads per workgroup

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = (group.x + params.first) * WG + lane;
  if (row >= params.M) { return; }
  let from_piece = row * params.PIECES;
  var largest = -3.0e38;
  for (var i = from_piece; i < from_piece + params.PIECES; i++) { largest = max(largest, partials[i].x); }
  var sum = 0.0;
  for (var i = from_piece; i < from_piece + params.PIECES; i++) { sum += partials[i].y * exp(partials[i].x - largest); }
  lse[row] = largest + log(sum);
}
