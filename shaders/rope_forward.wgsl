// rope_forward: rotates each pair (i, i + HS / 2) of each head of q and k, in place, by the angle of its position.
// Su et al. 2021, "RoFormer", arXiv:2104.09864, eq. 34, with the halves of a head as pairs (the Hugging Face order).
//
//   q      (B, T, NH, HS)   f32  read, write
//   k      (B, T, NKV, HS)  f32  read, write
//   angles (context, HS / 2, 2)  f32  read  cosine and sine, computed in double precision: WGSL's own are only good to 2^-11
//   rows   (B, 2)           u32  read       position of a row's first token; its row in the cache (unused here)
//
// dispatch: one thread owns one pair; x: ceil(B * T * (NH + NKV) * HS / 2 / 64).

struct Params { first: u32, rows: u32, T: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> k: array<f32>;
@group(0) @binding(3) var<storage, read> angles: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> rows: array<vec2<u32>>;

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
  let angle = angles[(rows[m / params.T].x + m % params.T) * half_size + i];
  if (head < NH) {
    let at = (m * NH + head) * HS + i;
    let a = q[at];
    let b = q[at + half_size];
    q[at] = a * angle.x - b * angle.y;
    q[at + half_size] = b * angle.x + a * angle.y;
  } else {
    let at = (m * NKV + head - NH) * HS + i;
    let a = k[at];
    let b = k[at + half_size];
    k[at] = a * angle.x - b * angle.y;
    k[at + half_size] = b * angle.x + a * angle.y;
  }
}
