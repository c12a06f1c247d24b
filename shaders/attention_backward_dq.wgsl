// attention_backward_dq: dq[t, h] = sum_j ds[t, j] * k[j], ds = p * (dO v^T - delta) / sqrt(HS), p = exp(q k^T / sqrt(HS) - lse)
// Dao 2023, "FlashAttention-2", arXiv:2307.08691, algorithm 2, with keys in order and queries side by side. Joined after _attention_backward.
//
//   dq (B * TQ, STRIDE) f32  write  the first NH * HS columns
//
// dispatch: one thread for 8 queries of one head, heads fastest; no workgroup memory, no barrier. It sums into its own rows of dq.

@group(0) @binding(1) var<storage, read_write> dq: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + params.first) * WG + lane;
  let tiles = (params.TQ + 7u) / 8u;
  let head = i % params.NH;
  let t = (i / params.NH) % tiles * 8u;
  let b = i / params.NH / tiles;
  if (b >= params.B) { return; }
  let H4 = params.HS / 4u;
  let last = min(8u, params.TQ - t) - 1u; // the tile's last query: rows past it add 0 to it
  let stride = params.STRIDE / 4u;
  let o0 = (b * params.TQ + t) * stride + head * H4;
  let o1 = o0 + min(1u, last) * stride;
  let o2 = o0 + min(2u, last) * stride;
  let o3 = o0 + min(3u, last) * stride;
  let o4 = o0 + min(4u, last) * stride;
  let o5 = o0 + min(5u, last) * stride;
  let o6 = o0 + min(6u, last) * stride;
  let o7 = o0 + min(7u, last) * stride;
  for (var e = 0u; e < H4; e++) {
    dq[o0 + e] = vec4<f32>();
    dq[o1 + e] = vec4<f32>();
    dq[o2 + e] = vec4<f32>();
    dq[o3 + e] = vec4<f32>();
    dq[o4 + e] = vec4<f32>();
    dq[o5 + e] = vec4<f32>();
    dq[o6 + e] = vec4<f32>();
    dq[o7 + e] = vec4<f32>();
  }
  let end = min(params.TK, params.OFFSET + t + last + 1u);
  for (var j = 0u; j < end; j += 8u) {
    let made = block(b, t, j, head);
    let k0 = key_at(b, j + 0u, head);
    let k1 = key_at(b, j + 1u, head);
    let k2 = key_at(b, j + 2u, head);
    let k3 = key_at(b, j + 3u, head);
    let k4 = key_at(b, j + 4u, head);
    let k5 = key_at(b, j + 5u, head);
    let k6 = key_at(b, j + 6u, head);
    let k7 = key_at(b, j + 7u, head);
    for (var e = 0u; e < H4; e++) {
      let ka = mat4x4<f32>(k[k0 + e], k[k1 + e], k[k2 + e], k[k3 + e]);
      let kb = mat4x4<f32>(k[k4 + e], k[k5 + e], k[k6 + e], k[k7 + e]);
      dq[o0 + e] += ka * made.q00.ds[0] + kb * made.q01.ds[0];
      dq[o1 + e] += ka * made.q00.ds[1] + kb * made.q01.ds[1];
      dq[o2 + e] += ka * made.q00.ds[2] + kb * made.q01.ds[2];
      dq[o3 + e] += ka * made.q00.ds[3] + kb * made.q01.ds[3];
      dq[o4 + e] += ka * made.q10.ds[0] + kb * made.q11.ds[0];
      dq[o5 + e] += ka * made.q10.ds[1] + kb * made.q11.ds[1];
      dq[o6 + e] += ka * made.q10.ds[2] + kb * made.q11.ds[2];
      dq[o7 + e] += ka * made.q10.ds[3] + kb * made.q11.ds[3];
    }
  }
}
