// rope_cache: rope_forward for generation: q is rotated in place, k is rotated into the cache and v copied into it.
//
//   q       (B, T, NH, HS)        f32  read, write
//   keys    (slots, TK, NKV, HS)  f32  write  at each token's position in its row's slot
//   values  (slots, TK, NKV, HS)  f32  write
//   k, v    (B, T, NKV, HS)       f32  read
//   angles  (context, HS / 2, 2)  f32  read   see rope_forward
//   rows    (B, 2)                u32  read   position of a row's first token; its slot in the cache
//
// Positions of padding at or past TK are not written.
// dispatch: one thread owns one pair; x: ceil(B * T * (NH + NKV) * HS / 2 / 64).

struct Params { first: u32, rows: u32, T: u32, TK: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> keys: array<f32>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;
@group(0) @binding(4) var<storage, read> k: array<f32>;
@group(0) @binding(5) var<storage, read> v: array<f32>;
@group(0) @binding(6) var<storage, read> angles: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read> rows: array<vec2<u32>>;

override NH: u32;
override NKV: u32;
override HS: u32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let index = (wg.x + params.first) * 64u + local.x;
  let half_size = HS / 2u;
  let i = index % half_size;
  let head = (index / half_size) % (NH + NKV);
  let m = index / half_size / (NH + NKV);
  if (m >= params.rows) { return; }
  let row = rows[m / params.T];
  let position = row.x + m % params.T;
  if (position >= params.TK) { return; }
  let angle = angles[position * half_size + i];
  if (head < NH) {
    let at = (m * NH + head) * HS + i;
    let a = q[at];
    let b = q[at + half_size];
    q[at] = a * angle.x - b * angle.y;
    q[at + half_size] = b * angle.x + a * angle.y;
  } else {
    let at = (m * NKV + head - NH) * HS + i;
    let to = ((row.y * params.TK + position) * NKV + head - NH) * HS + i;
    let a = k[at];
    let b = k[at + half_size];
    keys[to] = a * angle.x - b * angle.y;
    keys[to + half_size] = b * angle.x + a * angle.y;
    values[to] = v[at];
    values[to + half_size] = v[at + half_size];
  }
}
