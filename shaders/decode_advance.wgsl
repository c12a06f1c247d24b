// decode_advance: the largest of a row's `pieces` values of argmax is its token (of equals the lowest id) and its next input, one position further on, so that
// steps of greedy decoding follow one another on the GPU without the host.
//
//   tokens  (R)          u32  write       the next step's input
//   rows    (R, 2)       u32  read+write  position of each row's token; its slot in the cache
//   history (S, R)       u32  write       the tokens of each step
//   draws   (R, 4)       u32  read+write  seed; tokens drawn so far; steps since the host looked
//   value   (R, pieces)  f32  read
//   id      (R, pieces)  u32  read
//
// dispatch: one thread owns one row; x: ceil(R / 64).

struct Params { first: u32, rows: u32, pieces: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(2) var<storage, read_write> rows: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> history: array<u32>;
@group(0) @binding(4) var<storage, read_write> draws: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> value: array<f32>;
@group(0) @binding(6) var<storage, read> id: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let r = (wg.x + params.first) * 64u + local.x;
  if (r >= params.rows) { return; }
  let begin = r * params.pieces;
  var best = begin;
  for (var i = begin + 1u; i < begin + params.pieces; i++) {
    if (value[i] > value[best] || (value[i] == value[best] && id[i] < id[best])) { best = i; }
  }
  let draw = draws[r];
  tokens[r] = id[best];
  rows[r].x += 1u;
  history[draw.z * params.rows + r] = id[best];
  draws[r] = vec4<u32>(draw.x, draw.y + 1u, draw.z + 1u, draw.w);
}
