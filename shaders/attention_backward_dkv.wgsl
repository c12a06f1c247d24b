// attention_backward_dkv: dv[j] = sum_t p[t, j] * dO[t], dk[j] = sum_t ds[t, j] * q[t], over the query heads that read this key-value head, in order
// Dao 2023, "FlashAttention-2", arXiv:2307.08691, algorithm 2, with queries in order and keys side by side. Joined after _attention_backward.
//
//   dkv (B * TK, STRIDE) f32  write  dk in NKV * HS columns from DK on, dv in as many from DV on
//
// dispatch: one thread for 4 keys of one key-value head, heads fastest; no workgroup memory, no barrier. It sums into its own rows of dkv.

@group(0) @binding(1) var<storage, read_write> dkv: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + params.first) * WG + lane;
  let tiles = (params.TK + 3u) / 4u;
  let own = i % NKV;
  let j = (i / NKV) % tiles * 4u;
  let b = i / NKV / tiles;
  if (b >= params.B) { return; }
  let H4 = HS / 4u;
  let last = min(4u, params.TK - j) - 1u; // the tile's last key: keys past it add 0 to it
  let stride = params.STRIDE / 4u;
  let o0 = (b * params.TK + j) * stride + own * H4;
  let o1 = o0 + min(1u, last) * stride;
  let o2 = o0 + min(2u, last) * stride;
  let o3 = o0 + min(3u, last) * stride;
  let dk = params.DK / 4u;
  let dv = params.DV / 4u;
  for (var e = 0u; e < H4; e++) {
    dkv[o0 + dk + e] = vec4<f32>();
    dkv[o1 + dk + e] = vec4<f32>();
    dkv[o2 + dk + e] = vec4<f32>();
    dkv[o3 + dk + e] = vec4<f32>();
    dkv[o0 + dv + e] = vec4<f32>();
    dkv[o1 + dv + e] = vec4<f32>();
    dkv[o2 + dv + e] = vec4<f32>();
    dkv[o3 + dv + e] = vec4<f32>();
  }
  let shared_by = NH / NKV;
  let start = select(0u, j - params.OFFSET, j > params.OFFSET); // the first query that sees the tile's first key
  for (var head = own * shared_by; head < (own + 1u) * shared_by; head++) {
    for (var t = start; t < params.TQ; t += 4u) {
      let made = block(b, t, j, head);
      let p = transpose(made.p);
      let ds = transpose(made.ds);
      let q0 = query_at(b, t, head);
      let q1 = query_at(b, t + 1u, head);
      let q2 = query_at(b, t + 2u, head);
      let q3 = query_at(b, t + 3u, head);
      for (var e = 0u; e < H4; e++) {
        let queries = mat4x4<f32>(q[q0 + e], q[q1 + e], q[q2 + e], q[q3 + e]);
        dkv[o0 + dk + e] += queries * ds[0];
        dkv[o1 + dk + e] += queries * ds[1];
        dkv[o2 + dk + e] += queries * ds[2];
        dkv[o3 + dk + e] += queries * ds[3];
        let gradients = mat4x4<f32>(dO[q0 + e], dO[q1 + e], dO[q2 + e], dO[q3 + e]);
        dkv[o0 + dv + e] += gradients * p[0];
        dkv[o1 + dv + e] += gradients * p[1];
        dkv[o2 + dv + e] += gradients * p[2];
        dkv[o3 + dv + e] += gradients * p[3];
      }
    }
  }
}
