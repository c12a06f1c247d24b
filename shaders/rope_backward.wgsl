// rope_backward: turns the gradients of q and k back by the angle of their position, in place: the transpose of rope_forward's rotation.
// Su et al. 2021, "RoFormer", arXiv:2104.09864, eq. 34, with the halves of a head as pairs (the Hugging Face order).
//
//   dqkv   (B * T, STRIDE)        f32  read+write  dq in the first NH * HS columns, dk in the NKV * HS after them
//   angles (context, HS / 2, 2)   f32  read        cosine and sine, as rope_forward has them
//
// Row t of each of the B rows of tokens stands at position t.
// dispatch: one thread owns one pair; x: ceil(B * T * (NH + NKV) * HS / 2 / WG).

struct Params { first: u32, M: u32, T: u32, STRIDE: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dqkv: array<f32>;
@group(0) @binding(2) var<storage, read> angles: array<vec2<f32>>;

override WG: u32 = 64u; // threads per workgroup
override NH: u32;       // query heads
override NKV: u32;      // key-value heads
override HS: u32;       // head size

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let index = (group.x + params.first) * WG + lane;
  let half_size = HS / 2u;
  let i = index % half_size;
  let head = (index / half_size) % (NH + NKV);
  let m = index / half_size / (NH + NKV);
  if (m >= params.M) { return; }
  let angle = angles[m % params.T * half_size + i];
  let at = m * params.STRIDE + head * HS + i;
  let a = dqkv[at];
  let b = dqkv[at + half_size];
  dqkv[at] = a * angle.x + b * angle.y;
  dqkv[at + half_size] = b * angle.x - a * angle.y;
}
