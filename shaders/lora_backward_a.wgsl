// lora_backward_a: dA[r, k] += sum_m dh[m, r] * dropped(x)[m, k], over the M rows in order. Joined after _lora and _dropout or _keep_all.
//
//   dA (any)        f32  read+write  the buffer that holds the gradients of the sites' A
//   dh (M, RANKS)   f32  read        of lora_backward_hidden
//   x  (M, K)       f32  read
//
// dispatch: one thread for 4 ranks x 8 columns (k), columns fastest; x: RANKS / 4 * ceil(K / 8) / WG. K is a multiple of 4.

@group(0) @binding(1) var<storage, read_write> dA: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dh: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = (group.x + params.first) * WG + lane;
  let K4 = params.K / 4u;
  let R4 = params.RANKS / 4u;
  let tiles = (K4 + 1u) / 2u;
  let column = tile / tiles;
  if (column >= R4) { return; }
  let site = params.sites[site_of(column * 4u)];
  let rank = column * 4u - site.hidden;
  let left = tile % tiles * 2u;
  let right = min(left + 1u, K4 - 1u);
  let stream = dropout_stream(site.place);
  var l0 = vec4<f32>();
  var l1 = vec4<f32>();
  var l2 = vec4<f32>();
  var l3 = vec4<f32>();
  var r0 = vec4<f32>();
  var r1 = vec4<f32>();
  var r2 = vec4<f32>();
  var r3 = vec4<f32>();
  for (var m = 0u; m < params.M; m++) {
    let d = dh[m * R4 + column];
    let at = m * K4;
    let xl = x[at + left] * keep4(stream, (at + left) * 4u);
    let xr = x[at + right] * keep4(stream, (at + right) * 4u);
    l0 += d.x * xl;
    l1 += d.y * xl;
    l2 += d.z * xl;
    l3 += d.w * xl;
    r0 += d.x * xr;
    r1 += d.y * xr;
    r2 += d.z * xr;
    r3 += d.w * xr;
  }
  let to = site.a / 4u + rank * K4 + left;
  let both = left + 1u < K4;
  dA[to] += l0;
  if (both) { dA[to + 1u] += r0; }
  if (rank + 1u < site.rank) {
    dA[to + K4] += l1;
    if (both) { dA[to + K4 + 1u] += r1; }
  }
  if (rank + 2u < site.rank) {
    dA[to + 2u * K4] += l2;
    if (both) { dA[to + 2u * K4 + 1u] += r2; }
  }
  if (rank + 3u < site.rank) {
    dA[to + 3u * K4] += l3;
    if (both) { dA[to + 3u * K4 + 1u] += r3; }
  }
}
