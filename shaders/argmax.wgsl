// argmax: the id of each row's largest logit among those of each of `pieces` threads, the lowest id among equals. decode_advance ends it.
//
//   value  (rows, pieces)     f32  write
//   id     (rows, pieces)     u32  write
//   logits (rows, stride)     f32  read   V columns of each row count
//
// Threads take turns over the columns, so that neighbours read neighbouring numbers.
// dispatch: one thread owns every pieces-th column of one row; x: ceil(rows * pieces / 64).

struct Params { first: u32, rows: u32, V: u32, stride: u32, pieces: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> value: array<f32>;
@group(0) @binding(2) var<storage, read_write> id: array<u32>;
@group(0) @binding(3) var<storage, read> logits: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let i = (wg.x + params.first) * 64u + local.x;
  let row = i / params.pieces;
  if (row >= params.rows) { return; }
  let begin = min(i % params.pieces, params.V - 1u);
  var best = begin;
  var largest = logits[row * params.stride + begin];
  for (var n = begin + params.pieces; n < params.V; n += params.pieces) {
    let logit = logits[row * params.stride + n];
    if (logit > largest) {
      largest = logit;
      best = n;
    }
  }
  value[i] = largest;
  id[i] = best;
}
