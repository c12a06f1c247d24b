// lora_backward_b: dB[n, r] += scale * sum_m dy[m, n] * h[m, r], over the M rows in order. Joined after _lora.
//
//   dB (any)        f32  read+write  the buffer that holds the gradients of the sites' B
//   dy (M, STRIDE)  f32  read
//   h  (M, RANKS)   f32  read        kept by lora_down
//
// dispatch: one thread for 8 rows (n) x 4 ranks of one site, ranks fastest; x: the sum over sites of ceil(N / 8) * ceil(R / 4), over WG.

@group(0) @binding(1) var<storage, read_write> dB: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> h: array<vec4<f32>>;

fn store(site: Site, n: u32, rank: u32, sum: vec4<f32>) {
  if (n >= site.N) { return; }
  let at = site.b + n * site.rank + rank;
  dB[at] += site.scale * sum.x;
  if (rank + 1u < site.rank) { dB[at + 1u] += site.scale * sum.y; }
  if (rank + 2u < site.rank) { dB[at + 2u] += site.scale * sum.z; }
  if (rank + 3u < site.rank) { dB[at + 3u] += site.scale * sum.w; }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var tile = (group.x + params.first) * WG + lane;
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
  store(site, n, rank * 4u, b0);
  store(site, n + 1u, rank * 4u, b1);
  store(site, n + 2u, rank * 4u, b2);
  store(site, n + 3u, rank * 4u, b3);
  store(site, n + 4u, rank * 4u, b4);
  store(site, n + 5u, rank * 4u, b5);
  store(site, n + 6u, rank * 4u, b6);
  store(site, n + 7u, rank * 4u, b7);
}
