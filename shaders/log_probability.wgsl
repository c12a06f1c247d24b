// log_probability: y[row] = logits[row, target[row]] - log sum_n exp(logits[row, n]), in nats; 0 where the target is not an id
//
//   y       (rows)             f32  write
//   partial (rows, pieces, 2)  f32  read   of log_sum_exp
//   logits  (rows, stride)     f32  read
//   targets (rows)             u32  read
//
// dispatch: one thread owns one row; x: ceil(rows / 64).

struct Params { first: u32, rows: u32, V: u32, stride: u32, pieces: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> partial: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> logits: array<f32>;
@group(0) @binding(4) var<storage, read> targets: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let row = (wg.x + params.first) * 64u + local.x;
  if (row >= params.rows) { return; }
  let begin = row * params.pieces;
  var largest = -3.0e38;
  for (var i = begin; i < begin + params.pieces; i++) { largest = max(largest, partial[i].x); }
  var sum = 0.0;
  for (var i = begin; i < begin + params.pieces; i++) { sum += partial[i].y * exp(partial[i].x - largest); }
  let wanted = targets[row];
  if (wanted >= params.V) {
    y[row] = 0.0;
    return;
  }
  y[row] = logits[row * params.stride + wanted] - largest - log(sum);
}
