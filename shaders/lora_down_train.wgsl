// lora_down_train: h[m, r] = sum_k dropped(x)[m, k] * A[r, k], kept for backward. Joined after _lora and _dropout or _keep_all.
// Hu et al. 2021, arXiv:2106.09685, section 4: dropout on the input of the adapter alone.
//
//   h (M, RANKS)  f32  write
//   x (M, K)      f32  read
//   A (any)       f32  read  the buffer that holds the sites' A
//
// dispatch: one thread for 4 rows x 4 ranks, ranks fastest; no workgroup memory, no barrier. K is a multiple of 4.

@group(0) @binding(1) var<storage, read_write> h: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> A: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = (group.x + params.first) * WG + lane;
  let R4 = params.RANKS / 4u;
  let column = tile % R4;
  let row = tile / R4 * 4u;
  if (row >= params.M) { return; }
  let found = site_of(column * 4u);
  let site = params.sites[found];
  let K4 = params.K / 4u;
  let rank = column * 4u - site.hidden;
  let last = params.M - 1u;
  let x0 = row * K4;
  let x1 = min(row + 1u, last) * K4;
  let x2 = min(row + 2u, last) * K4;
  let x3 = min(row + 3u, last) * K4;
  let a0 = site.a / 4u + rank * K4;
  let a1 = site.a / 4u + min(rank + 1u, site.rank - 1u) * K4;
  let a2 = site.a / 4u + min(rank + 2u, site.rank - 1u) * K4;
  let a3 = site.a / 4u + min(rank + 3u, site.rank - 1u) * K4;
  let stream = dropout_stream(site.place);
  var h0 = vec4<f32>();
  var h1 = vec4<f32>();
  var h2 = vec4<f32>();
  var h3 = vec4<f32>();
  for (var k = 0u; k < K4; k++) {
    let turned = transpose(mat4x4<f32>(A[a0 + k], A[a1 + k], A[a2 + k], A[a3 + k]));
    h0 += turned * (x[x0 + k] * keep4(stream, (x0 + k) * 4u));
    h1 += turned * (x[x1 + k] * keep4(stream, (x1 + k) * 4u));
    h2 += turned * (x[x2 + k] * keep4(stream, (x2 + k) * 4u));
    h3 += turned * (x[x3 + k] * keep4(stream, (x3 + k) * 4u));
  }
  let real = vec4<u32>(rank, rank + 1u, rank + 2u, rank + 3u) < vec4<u32>(site.rank);
  h[row * R4 + column] = select(vec4<f32>(), h0, real);
  if (row + 1u < params.M) { h[(row + 1u) * R4 + column] = select(vec4<f32>(), h1, real); }
  if (row + 2u < params.M) { h[(row + 2u) * R4 + column] = select(vec4<f32>(), h2, real); }
  if (row + 3u < params.M) { h[(row + 3u) * R4 + column] = select(vec4<f32>(), h3, real); }
}
