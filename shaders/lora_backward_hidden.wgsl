// lora_backward_hidden: dh[m, r] = scale * sum_n dy[m, n] * B[n, r]. Joined after _lora.
//
//   dh (M, RANKS)   f32  write
//   dy (M, STRIDE)  f32  read
//   B  (any)        f32  read  the buffer that holds the sites' B
//
// dispatch: one thread for 8 rows x 4 ranks, ranks fastest; no workgroup memory, no barrier. N is a multiple of 4.

@group(0) @binding(1) var<storage, read_write> dh: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> B: array<vec4<f32>>;

/** Four numbers of B from any place: where a rank is no multiple of 4, its rows begin inside a vec4. */
fn load(i: u32) -> vec4<f32> {
  let a = B[i / 4u];
  if (i % 4u == 0u) { return a; }
  let b = B[i / 4u + 1u];
  switch (i % 4u) {
    case 1u: { return vec4<f32>(a.yzw, b.x); }
    case 2u: { return vec4<f32>(a.zw, b.xy); }
    default: { return vec4<f32>(a.w, b.xyz); }
  }
}

fn store(row: u32, column: u32, site: Site, rank: u32, sum: vec4<f32>) {
  if (row >= params.M) { return; }
  let real = vec4<u32>(rank, rank + 1u, rank + 2u, rank + 3u) < vec4<u32>(site.rank);
  dh[row * (params.RANKS / 4u) + column] = select(vec4<f32>(), site.scale * sum, real);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = (group.x + params.first) * WG + lane;
  let R4 = params.RANKS / 4u;
  let column = tile % R4;
  let row = tile / R4 * 8u;
  if (row >= params.M) { return; }
  let site = params.sites[site_of(column * 4u)];
  let rank = column * 4u - site.hidden;
  let stride = params.STRIDE / 4u;
  let first = site.column / 4u;
  let last = params.M - 1u;
  let y0 = row * stride + first;
  let y1 = min(row + 1u, last) * stride + first;
  let y2 = min(row + 2u, last) * stride + first;
  let y3 = min(row + 3u, last) * stride + first;
  let y4 = min(row + 4u, last) * stride + first;
  let y5 = min(row + 5u, last) * stride + first;
  let y6 = min(row + 6u, last) * stride + first;
  let y7 = min(row + 7u, last) * stride + first;
  var h0 = vec4<f32>();
  var h1 = vec4<f32>();
  var h2 = vec4<f32>();
  var h3 = vec4<f32>();
  var h4 = vec4<f32>();
  var h5 = vec4<f32>();
  var h6 = vec4<f32>();
  var h7 = vec4<f32>();
  var at = site.b + rank;
  for (var n = 0u; n < site.N / 4u; n++) {
    let b = mat4x4<f32>(load(at), load(at + site.rank), load(at + 2u * site.rank), load(at + 3u * site.rank));
    at += 4u * site.rank;
    h0 += b * dy[y0 + n];
    h1 += b * dy[y1 + n];
    h2 += b * dy[y2 + n];
    h3 += b * dy[y3 + n];
    h4 += b * dy[y4 + n];
    h5 += b * dy[y5 + n];
    h6 += b * dy[y6 + n];
    h7 += b * dy[y7 + n];
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
