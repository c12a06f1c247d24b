// lora_down: h[m, r] = sum_k dropped(x)[m, k] * A[r, k], kept for backward. Joined after _lora and _dropout or _keep_all.
// Hu et al. 2021, arXiv:2106.09685, section 4: dropout on the input of the adapter alone.
//
//   h (M, RANKS)  f32  write
//   x (M, K)      f32  read
//   A (any)       f32  read  the buffer that holds the sites' A
//
// dispatch: one thread for 8 rows x 4 ranks, ranks fastest; no workgroup memory, no barrier. K is a multiple of 4.

@group(0) @binding(1) var<storage, read_write> h: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> A: array<vec4<f32>>;

fn store(row: u32, column: u32, site: Site, rank: u32, sum: vec4<f32>) {
  if (row >= params.M) { return; }
  let real = vec4<u32>(rank, rank + 1u, rank + 2u, rank + 3u) < vec4<u32>(site.rank);
  h[row * (params.RANKS / 4u) + column] = select(vec4<f32>(), sum, real);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = (group.x + params.first) * WG + lane;
  let R4 = params.RANKS / 4u;
  let column = tile % R4;
  let row = tile / R4 * 8u;
  if (row >= params.M) { return; }
  let site = params.sites[site_of(column * 4u)];
  let K4 = params.K / 4u;
  let rank = column * 4u - site.hidden;
  let last = params.M - 1u;
  let x0 = row * K4;
  let x1 = min(row + 1u, last) * K4;
  let x2 = min(row + 2u, last) * K4;
  let x3 = min(row + 3u, last) * K4;
  let x4 = min(row + 4u, last) * K4;
  let x5 = min(row + 5u, last) * K4;
  let x6 = min(row + 6u, last) * K4;
  let x7 = min(row + 7u, last) * K4;
  let a0 = site.a / 4u + rank * K4;
  let a1 = site.a / 4u + min(rank + 1u, site.rank - 1u) * K4;
  let a2 = site.a / 4u + min(rank + 2u, site.rank - 1u) * K4;
  let a3 = site.a / 4u + min(rank + 3u, site.rank - 1u) * K4;
  let stream = dropout_stream(site.place);
  var h0 = vec4<f32>();
  var h1 = vec4<f32>();
  var h2 = vec4<f32>();
  var h3 = vec4<f32>();
  var h4 = vec4<f32>();
  var h5 = vec4<f32>();
  var h6 = vec4<f32>();
  var h7 = vec4<f32>();
  for (var k = 0u; k < K4; k++) {
    let turned = transpose(mat4x4<f32>(A[a0 + k], A[a1 + k], A[a2 + k], A[a3 + k]));
    h0 += turned * (x[x0 + k] * keep4(stream, (x0 + k) * 4u));
    h1 += turned * (x[x1 + k] * keep4(stream, (x1 + k) * 4u));
    h2 += turned * (x[x2 + k] * keep4(stream, (x2 + k) * 4u));
    h3 += turned * (x[x3 + k] * keep4(stream, (x3 + k) * 4u));
    h4 += turned * (x[x4 + k] * keep4(stream, (x4 + k) * 4u));
    h5 += turned * (x[x5 + k] * keep4(stream, (x5 + k) * 4u));
    h6 += turned * (x[x6 + k] * keep4(stream, (x6 + k) * 4u));
    h7 += turned * (x[x7 + k] * keep4(stream, (x7 + k) * 4u));
  }
  store(row, column, site, rank, h0);
  store(row + 1u, column, site, rank, h1);
  store(row + 2u, column, site, rank, h2);
  store(row + 3u, column, site, rank, h3);
  store(row + 4u, column, site, rank, h4);
  store(row + 5u, column, site, rank, h5);
  store(row + 6u, column, site, rank, h6);
  store(row + 7u, column, site, rank, h7);
}
