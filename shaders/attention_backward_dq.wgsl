// attention_backward_dq: dq[t, h] = sum_j ds[t, j] * k[j], ds = p * (dO v^T - delta) / sqrt(HS), p = exp(q k^T / sqrt(HS) - lse)
// Dao 2023, "FlashAttention-2", arXiv:2307.08691, algorithm 2, with keys in order and queries side by side. Joined after _attention_backward.
//
//   dq (B * TQ, STRIDE) f32  write  the first NH * HS columns
//
// dispatch: one thread for 4 queries of one head, heads fastest; no workgroup memory, no barrier. It sums into its own rows of dq.

@group(0) @binding(1) var<storage, read_write> dq: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + params.first) * WG + lane;
  let tiles = (params.TQ + 3u) / 4u;
  let head = i % NH;
  let t = (i / NH) % tiles * 4u;
  let b = i / NH / tiles;
  if (b >= params.B) { return; }
  let H4 = HS / 4u;
  let last = min(4u, params.TQ - t) - 1u; // the tile's last query: rows past it add 0 to it
  let stride = params.STRIDE / 4u;
  let o0 = (b * params.TQ + t) * stride + head * H4;
  let o1 = o0 + min(1u, last) * stride;
  let o2 = o0 + min(2u, last) * stride;
  let o3 = o0 + min(3u, last) * stride;
  for (var e = 0u; e < H4; e++) {
    dq[o0 + e] = vec4<f32>();
    dq[o1 + e] = vec4<f32>();
    dq[o2 + e] = vec4<f32>();
    dq[o3 + e] = vec4<f32>();
  }
  let end = min(params.TK, params.OFFSET + t + last + 1u);
  for (var j = 0u; j < end; j += 4u) {
    let ds = block(b, t, j, head).ds;
    let k0 = key_at(b, j, head);
    let k1 = key_at(b, j + 1u, head);
    let k2 = key_at(b, j + 2u, head);
    let k3 = key_at(b, j + 3u, head);
    for (var e = 0u; e < H4; e++) {
      let keys = mat4x4<f32>(k[k0 + e], k[k1 + e], k[k2 + e], k[k3 + e]);
      dq[o0 + e] += keys * ds[0];
      dq[o1 + e] += keys * ds[1];
      dq[o2 + e] += keys * ds[2];
      dq[o3 + e] += keys * ds[3];
    }
  }
}
