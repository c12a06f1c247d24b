// log_sum_exp: the largest logit of each of `pieces` runs of columns of a row, and the sum of exp(logit - largest). log_probability ends it.
//
//   partial (rows, pieces, 2)  f32  write  largest, sum
//   logits  (rows, stride)     f32  read   V columns of each row count
//
// dispatch: one thread owns one run of one row; x: ceil(rows * pieces / 64).

struct Params { first: u32, rows: u32, V: u32, stride: u32, pieces: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> partial: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> logits: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let i = (wg.x + params.first) * 64u + local.x;
  let row = i / params.pieces;
  if (row >= params.rows) { return; }
  let run = (params.V + params.pieces - 1u) / params.pieces;
  let begin = row * params.stride + min((i % params.pieces) * run, params.V);
  let to = min(begin + run, row * params.stride + params.V);
  var largest = -3.0e38;
  for (var n = begin; n < to; n++) { largest = max(largest, logits[n]); }
  var sum = 0.0;
  for (var n = begin; n < to; n++) { sum += exp(logits[n] - largest); }
  partial[i] = vec2<f32>(largest, sum);
}
