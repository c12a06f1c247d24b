// lora_backward_factors: dA[r, k] += sum_m dh[m, r] * dropped(x)[m, k] and dB[n, r] += scale * sum_m dy[m, n] * h[m, r], over the M rows in order.
// Joined after _lora and _dropout or _keep_all.
//
//   dA (any)        f32  read+write  the stretch of a buffer that holds the gradients of the sites' A
//   dh (M, RANKS)   f32  read        of lora_backward_hidden
//   x  (M, K)       f32  read
//   dB (any)        f32  read+write  the stretch with those of their B
//   dy (M, STRIDE)  f32  read
//   h  (M, RANKS)   f32  read        kept by lora_down
//
// dispatch: first one thread for 4 ranks x 8 columns (k) of dA, columns fastest: RANKS / 4 * ceil(K / 8) threads; after them one for 8 rows (n) x 4 ranks
// of one site's dB, ranks fastest: the sum over sites of ceil(N / 8) * ceil(R / 4). K is a multiple of 4.

@group(0) @binding(1) var<storage, read_write> dA: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dh: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dB: array<f32>;
@group(0) @binding(6) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> h: array<vec4<f32>>;

fn add_A(tile: u32) {
  let K4 = params.K / 4u;
  let R4 = params.RANKS / 4u;
  let tiles = (K4 + 1u) / 2u;
  let column = tile / tiles;
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

fn store_B(site: Site, n: u32, rank: u32, sum: vec4<f32>) {
  if (n >= site.N) { return; }
  let at = site.b + n * site.rank + rank;
  dB[at] += site.scale * sum.x;
  if (rank + 1u < site.rank) { dB[at + 1u] += site.scale * sum.y; }
  if (rank + 2u < site.rank) { dB[at + 2u] += site.scale * sum.z; }
  if (rank + 3u < site.rank) { dB[at + 3u] += site.scale * sum.w; }
}

fn add_B(index: u32) {
  var tile = index;
  var found = 0u;
  loop {
    if (found >= params.COUNT) { return; }
    let tiles = (params.sites[found].N + 7u) / 8u * (width(found) / 4u);
    if (tile < tiles) { break; }
    tile -= tiles;
    found++;
  }
  let site = params.sites[found];
  let ranks = width(found) / 4u;
  let rank = tile % ranks;
  let n = tile / ranks * 8u;
  let stride = params.STRIDE / 4u;
  let R4 = params.RANKS / 4u;
  let upper = (site.column + n) / 4u;
  let lower = (site.column + min(n + 4u, site.N - 4u)) / 4u;
  let hidden = site.hidden / 4u + rank;
  var b0 = vec4<f32>();
  var b1 = vec4<f32>();
  var b2 = vec4<f32>();
  var b3 = vec4<f32>();
  var b4 = vec4<f32>();
  var b5 = vec4<f32>();
  var b6 = vec4<f32>();
  var b7 = vec4<f32>();
  for (var m = 0u; m < params.M; m++) {
    let u = dy[m * stride + upper];
    let d = dy[m * stride + lower];
    let own = h[m * R4 + hidden];
    b0 += u.x * own;
    b1 += u.y * own;
    b2 += u.z * own;
    b3 += u.w * own;
    b4 += d.x * own;
    b5 += d.y * own;
    b6 += d.z * own;
    b7 += d.w * own;
  }
  store_B(site, n, rank * 4u, b0);
  store_B(site, n + 1u, rank * 4u, b1);
  store_B(site, n + 2u, rank * 4u, b2);
  store_B(site, n + 3u, rank * 4u, b3);
  store_B(site, n + 4u, rank * 4u, b4);
  store_B(site, n + 5u, rank * 4u, b5);
  store_B(site, n + 6u, rank * 4u, b6);
  store_B(site, n + 7u, rank * 4u, b7);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = (group.x + params.first) * WG + lane;
  let tiles = params.RANKS / 4u * ((params.K / 4u + 1u) / 2u); // of dA
  if (tile < tiles) { add_A(tile); } else { add_B(tile - tiles); }
}
