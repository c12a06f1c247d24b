// lora_backward_input: dx[m, k] += sum over sites of dropped(sum_r dh[m, r] * A[r, k]). Joined after _lora and _dropout or _keep_all.
//
//   dx (M, K)       f32  read+write
//   dh (M, RANKS)   f32  read        of lora_backward_hidden
//   A  (any)        f32  read        the buffer that holds the sites' A
//
// dispatch: one thread for 4 rows x 8 columns, columns fastest; no workgroup memory, no barrier. K is a multiple of 4.

@group(0) @binding(1) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dh: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> A: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = (group.x + params.first) * WG + lane;
  let K4 = params.K / 4u;
  let R4 = params.RANKS / 4u;
  let tiles = (K4 + 1u) / 2u;
  let row = tile / tiles * 4u;
  if (row >= params.M) { return; }
  let left = tile % tiles * 2u;
  let right = min(left + 1u, K4 - 1u);
  let last = params.M - 1u;
  let m1 = min(row + 1u, last);
  let m2 = min(row + 2u, last);
  let m3 = min(row + 3u, last);
  var l0 = vec4<f32>();
  var l1 = vec4<f32>();
  var l2 = vec4<f32>();
  var l3 = vec4<f32>();
  var r0 = vec4<f32>();
  var r1 = vec4<f32>();
  var r2 = vec4<f32>();
  var r3 = vec4<f32>();
  for (var s = 0u; s < params.COUNT; s++) {
    let site = params.sites[s];
    let stream = dropout_stream(site.place);
    var sl = mat4x4<f32>(); // column i: this site's sum for row i, left
    var sr = mat4x4<f32>();
    for (var r = 0u; r < site.rank; r += 4u) {
      let h = (site.hidden + r) / 4u;
      let d = mat4x4<f32>(dh[row * R4 + h], dh[m1 * R4 + h], dh[m2 * R4 + h], dh[m3 * R4 + h]);
      // Past the last rank its row is read again, times dh's 0.
      let a0 = site.a / 4u + r * K4;
      let a1 = site.a / 4u + min(r + 1u, site.rank - 1u) * K4;
      let a2 = site.a / 4u + min(r + 2u, site.rank - 1u) * K4;
      let a3 = site.a / 4u + min(r + 3u, site.rank - 1u) * K4;
      sl += mat4x4<f32>(A[a0 + left], A[a1 + left], A[a2 + left], A[a3 + left]) * d;
      sr += mat4x4<f32>(A[a0 + right], A[a1 + right], A[a2 + right], A[a3 + right]) * d;
    }
    l0 += sl[0] * keep4(stream, (row * K4 + left) * 4u);
    l1 += sl[1] * keep4(stream, (m1 * K4 + left) * 4u);
    l2 += sl[2] * keep4(stream, (m2 * K4 + left) * 4u);
    l3 += sl[3] * keep4(stream, (m3 * K4 + left) * 4u);
    r0 += sr[0] * keep4(stream, (row * K4 + right) * 4u);
    r1 += sr[1] * keep4(stream, (m1 * K4 + right) * 4u);
    r2 += sr[2] * keep4(stream, (m2 * K4 + right) * 4u);
    r3 += sr[3] * keep4(stream, (m3 * K4 + right) * 4u);
  }
  let both = left + 1u < K4;
  let to = row * K4 + left;
  dx[to] += l0;
  if (both) { dx[to + 1u] += r0; }
  if (row + 1u < params.M) {
    dx[to + K4] += l1;
    if (both) { dx[to + K4 + 1u] += r1; }
  }
  if (row + 2u < params.M) {
    dx[to + 2u * K4] += l2;
    if (both) { dx[to + 2u * K4 + 1u] += r2; }
  }
  if (row + 3u < params.M) {
    dx[to + 3u * K4] += l3;
    if (both) { dx[to + 3u * K4 + 1u] += r3; }
  }
}
