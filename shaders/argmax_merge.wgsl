// argmax_merge: the id of the largest of a row's `pieces` values of argmax; pieces are in the order of their ids, so the first of equals is the lowest.
//
//   token  (rows)          u32  write
//   value  (rows, pieces)  f32  read
//   id     (rows, pieces)  u32  read
//
// dispatch: one thread owns one row; x: ceil(rows / 64).

struct Params { first: u32, rows: u32, pieces: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> token: array<u32>;
@group(0) @binding(2) var<storage, read> value: array<f32>;
@group(0) @binding(3) var<storage, read> id: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let row = (wg.x + params.first) * 64u + local.x;
  if (row >= params.rows) { return; }
  let begin = row * params.pieces;
  var best = begin;
  for (var i = begin + 1u; i < begin + params.pieces; i++) {
    if (value[i] > value[best]) { best = i; }
  }
  token[row] = id[best];
}
