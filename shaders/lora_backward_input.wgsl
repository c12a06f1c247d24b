// lora_backward_input: dx[m, k] += sum over sites of dropped(sum_r dh[m, r] * A[r, k]). Joined after _lora and _dropout or _keep_all.
//
//   dx (M, K)       f32  read+write
//   dh (M, RANKS)   f32  read        of lora_backward_hidden
//   A  (any)        f32  read        the buffer that holds the sites' A
//
// dispatch: one thread for 8 rows x 8 columns, columns fastest; no workgroup memory, no barrier. K is a multiple of 4.

@group(0) @binding(1) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dh: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> A: array<vec4<f32>>;

fn store(row: u32, at: u32, left: vec4<f32>, right: vec4<f32>, both: bool) {
  if (row >= params.M) { return; }
  let i = row * (params.K / 4u) + at;
  dx[i] += left;
  if (both) { dx[i + 1u] += right; }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = (group.x + params.first) * WG + lane;
  let K4 = params.K / 4u;
  let R4 = params.RANKS / 4u;
  let tiles = (K4 + 1u) / 2u;
  let row = tile / tiles * 8u;
  if (row >= params.M) { return; }
  let left = tile % tiles * 2u;
  let right = min(left + 1u, K4 - 1u);
  let last = params.M - 1u;
  let m1 = min(row + 1u, last);
  let m2 = min(row + 2u, last);
  let m3 = min(row + 3u, last);
  let m4 = min(row + 4u, last);
  let m5 = min(row + 5u, last);
  let m6 = min(row + 6u, last);
  let m7 = min(row + 7u, last);
  var l0 = vec4<f32>();
  var r0 = vec4<f32>();
  var l1 = vec4<f32>();
  var r1 = vec4<f32>();
  var l2 = vec4<f32>();
  var r2 = vec4<f32>();
  var l3 = vec4<f32>();
  var r3 = vec4<f32>();
  var l4 = vec4<f32>();
  var r4 = vec4<f32>();
  var l5 = vec4<f32>();
  var r5 = vec4<f32>();
  var l6 = vec4<f32>();
  var r6 = vec4<f32>();
  var l7 = vec4<f32>();
  var r7 = vec4<f32>();
  for (var s = 0u; s < params.COUNT; s++) {
    let site = params.sites[s];
    let stream = dropout_stream(site.place);
    // This site's sums: columns 0 to 3 for the first four rows, a, and the last four, b.
    var la = mat4x4<f32>();
    var lb = mat4x4<f32>();
    var ra = mat4x4<f32>();
    var rb = mat4x4<f32>();
    for (var r = 0u; r < site.rank; r += 4u) {
      let h = (site.hidden + r) / 4u;
      let da = mat4x4<f32>(dh[row * R4 + h], dh[m1 * R4 + h], dh[m2 * R4 + h], dh[m3 * R4 + h]);
      let db = mat4x4<f32>(dh[m4 * R4 + h], dh[m5 * R4 + h], dh[m6 * R4 + h], dh[m7 * R4 + h]);
      // Past the last rank its row is read again, times dh's 0.
      let a0 = site.a / 4u + r * K4;
      let a1 = site.a / 4u + min(r + 1u, site.rank - 1u) * K4;
      let a2 = site.a / 4u + min(r + 2u, site.rank - 1u) * K4;
      let a3 = site.a / 4u + min(r + 3u, site.rank - 1u) * K4;
      let al = mat4x4<f32>(A[a0 + left], A[a1 + left], A[a2 + left], A[a3 + left]);
      let ar = mat4x4<f32>(A[a0 + right], A[a1 + right], A[a2 + right], A[a3 + right]);
      la += al * da;
      lb += al * db;
      ra += ar * da;
      rb += ar * db;
    }
    l0 += la[0] * keep4(stream, (row * K4 + left) * 4u);
    r0 += ra[0] * keep4(stream, (row * K4 + right) * 4u);
    l1 += la[1] * keep4(stream, (m1 * K4 + left) * 4u);
    r1 += ra[1] * keep4(stream, (m1 * K4 + right) * 4u);
    l2 += la[2] * keep4(stream, (m2 * K4 + left) * 4u);
    r2 += ra[2] * keep4(stream, (m2 * K4 + right) * 4u);
    l3 += la[3] * keep4(stream, (m3 * K4 + left) * 4u);
    r3 += ra[3] * keep4(stream, (m3 * K4 + right) * 4u);
    l4 += lb[0] * keep4(stream, (m4 * K4 + left) * 4u);
    r4 += rb[0] * keep4(stream, (m4 * K4 + right) * 4u);
    l5 += lb[1] * keep4(stream, (m5 * K4 + left) * 4u);
    r5 += rb[1] * keep4(stream, (m5 * K4 + right) * 4u);
    l6 += lb[2] * keep4(stream, (m6 * K4 + left) * 4u);
    r6 += rb[2] * keep4(stream, (m6 * K4 + right) * 4u);
    l7 += lb[3] * keep4(stream, (m7 * K4 + left) * 4u);
    r7 += rb[3] * keep4(stream, (m7 * K4 + right) * 4u);
  }
  let both = left + 1u < K4;
  store(row, left, l0, r0, both);
  store(row + 1u, left, l1, r1, both);
  store(row + 2u, left, l2, r2, both);
  store(row + 3u, left, l3, r3, both);
  store(row + 4u, left, l4, r4, both);
  store(row + 5u, left, l5, r5, both);
  store(row + 6u, left, l6, r6, both);
  store(row + 7u, left, l7, r7, both);
}
