// log_sum_exp: the largest logit among the columns of each of `pieces` threads of a row, and the sum of exp(logit - largest). log_probability ends it.
//
//   partial (rows, pieces, 2)  f32  write  largest, sum
//   logits  (rows, stride)     f32  read   V columns of each row count
//
// Threads take turns over the columns, so that neighbours read neighbouring numbers.
// dispatch: one thread owns every pieces-th column of one row; x: ceil(rows * pieces / 64).

struct Params { first: u32, rows: u32, V: u32, stride: u32, pieces: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> partial: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> logits: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let i = (wg.x + params.first) * 64u + local.x;
  let row = i / params.pieces;
  if (row >= params.rows) { return; }
  let begin = row * params.stride + i % params.pieces;
  let to = row * params.stride + params.V;
  var largest = -3.0e38;
  for (var n = begin; n < to; n += params.pieces) { largest = max(largest, logits[n]); }
  var sum = 0.0;
  for (var n = begin; n < to; n += params.pieces) { sum += exp(logits[n] - largest); }
  partial[i] = vec2<f32>(largest, sum);
}
