// cross_entropy_backward: logits become their gradient in place, SCALE * (exp(logit - lse) - [v is the target]); losses[i] = lse - logit of the target
// The rows are labelled ones, picked by gather_rows; a row without a target (the filling of the last chunk) and columns from V on get 0.
//
//   dlogits (M, STRIDE)     f32  read+write  logits, then their gradient
//   losses  (M)             f32  write       one target's loss in nats, for loss_sum
//   lse     (M)             f32  read        of cross_entropy_lse
//   targets (M)             i32  read        token to predict, -1 for none
//   micro   (4)             u32  read        [2]: the bits of SCALE, 1 / targets of the step
//
// dispatch: one thread for 4 columns of one row, columns fastest; STRIDE is V rounded up to a multiple of 4.

struct Params { first: u32, M: u32, V: u32, STRIDE: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dlogits: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> targets: array<i32>;
@group(0) @binding(5) var<storage, read> micro: array<u32>;

override WG: u32 = 64u; // threads per workgroup

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + params.first) * WG + lane;
  let V4 = params.STRIDE / 4u;
  let row = i / V4;
  if (row >= params.M) { return; }
  let v = i % V4 * 4u;
  let columns = vec4<u32>(v, v + 1u, v + 2u, v + 3u);
  let target_id = targets[row];
  if (target_id < 0) {
    dlogits[i] = vec4<f32>();
    if (v == 0u) { losses[row] = 0.0; }
    return;
  }
  let below = dlogits[i] - lse[row];
  let hit = columns == vec4<u32>(u32(target_id));
  if (any(hit)) { losses[row] = -dot(select(vec4<f32>(), below, hit), vec4<f32>(1.0)); }
  let gradient = bitcast<f32>(micro[2]) * (exp(below) - select(vec4<f32>(), vec4<f32>(1.0), hit));
  dlogits[i] = select(vec4<f32>(), gradient, columns < vec4<u32>(params.V));
}
