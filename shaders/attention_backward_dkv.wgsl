// attention_backward_dkv: dv[j] = sum_t p[t, j] * dO[t], dk[j] = sum_t ds[t, j] * q[t], over the query heads that read this key-value head, in order
// Dao 2023, "FlashAttention-2", arXiv:2307.08691, algorithm 2, with queries in order and keys side by side. Joined after _attention_backward.
//
//   dkv (B * TK, STRIDE) f32  write  dk in NKV * HS columns from DK on, dv in as many from DV on
//
// dispatch: one thread for 8 keys of one key-value head, heads fastest; no workgroup memory, no barrier. It sums into its own rows of dkv.

@group(0) @binding(1) var<storage, read_write> dkv: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + params.first) * WG + lane;
  let tiles = (params.TK + 7u) / 8u;
  let own = i % params.NKV;
  let j = (i / params.NKV) % tiles * 8u;
  let b = i / params.NKV / tiles;
  if (b >= params.B) { return; }
  let H4 = params.HS / 4u;
  let last = min(8u, params.TK - j) - 1u; // the tile's last key: keys past it add 0 to it
  let stride = params.STRIDE / 4u;
  let dv = (params.DV - params.DK) / 4u; // from a number of dk to its neighbour of dv
  let o0 = (b * params.TK + j) * stride + params.DK / 4u + own * H4;
  let o1 = o0 + min(1u, last) * stride;
  let o2 = o0 + min(2u, last) * stride;
  let o3 = o0 + min(3u, last) * stride;
  let o4 = o0 + min(4u, last) * stride;
  let o5 = o0 + min(5u, last) * stride;
  let o6 = o0 + min(6u, last) * stride;
  let o7 = o0 + min(7u, last) * stride;
  for (var e = 0u; e < H4; e++) {
    dkv[o0 + e] = vec4<f32>();
    dkv[o0 + dv + e] = vec4<f32>();
    dkv[o1 + e] = vec4<f32>();
    dkv[o1 + dv + e] = vec4<f32>();
    dkv[o2 + e] = vec4<f32>();
    dkv[o2 + dv + e] = vec4<f32>();
    dkv[o3 + e] = vec4<f32>();
    dkv[o3 + dv + e] = vec4<f32>();
    dkv[o4 + e] = vec4<f32>();
    dkv[o4 + dv + e] = vec4<f32>();
    dkv[o5 + e] = vec4<f32>();
    dkv[o5 + dv + e] = vec4<f32>();
    dkv[o6 + e] = vec4<f32>();
    dkv[o6 + dv + e] = vec4<f32>();
    dkv[o7 + e] = vec4<f32>();
    dkv[o7 + dv + e] = vec4<f32>();
  }
  let shared_by = params.NH / params.NKV;
  let start = select(0u, j - params.OFFSET, j > params.OFFSET); // the first query that sees the tile's first key
  for (var head = own * shared_by; head < (own + 1u) * shared_by; head++) {
    for (var t = start; t < params.TQ; t += 8u) {
      let made = block(b, t, j, head);
      let p00 = transpose(made.q00.p);
      let s00 = transpose(made.q00.ds);
      let p01 = transpose(made.q01.p);
      let s01 = transpose(made.q01.ds);
      let p10 = transpose(made.q10.p);
      let s10 = transpose(made.q10.ds);
      let p11 = transpose(made.q11.p);
      let s11 = transpose(made.q11.ds);
      let q0 = query_at(b, t + 0u, head);
      let q1 = query_at(b, t + 1u, head);
      let q2 = query_at(b, t + 2u, head);
      let q3 = query_at(b, t + 3u, head);
      let q4 = query_at(b, t + 4u, head);
      let q5 = query_at(b, t + 5u, head);
      let q6 = query_at(b, t + 6u, head);
      let q7 = query_at(b, t + 7u, head);
      for (var e = 0u; e < H4; e++) {
        let qa = mat4x4<f32>(q[q0 + e], q[q1 + e], q[q2 + e], q[q3 + e]);
        let qb = mat4x4<f32>(q[q4 + e], q[q5 + e], q[q6 + e], q[q7 + e]);
        dkv[o0 + e] += qa * s00[0] + qb * s10[0];
        dkv[o1 + e] += qa * s00[1] + qb * s10[1];
        dkv[o2 + e] += qa * s00[2] + qb * s10[2];
        dkv[o3 + e] += qa * s00[3] + qb * s10[3];
        dkv[o4 + e] += qa * s01[0] + qb * s11[0];
        dkv[o5 + e] += qa * s01[1] + qb * s11[1];
        dkv[o6 + e] += qa * s01[2] + qb * s11[2];
        dkv[o7 + e] += qa * s01[3] + qb * s11[3];
        let ga = mat4x4<f32>(dO[q0 + e], dO[q1 + e], dO[q2 + e], dO[q3 + e]);
        let gb = mat4x4<f32>(dO[q4 + e], dO[q5 + e], dO[q6 + e], dO[q7 + e]);
        dkv[o0 + dv + e] += ga * p00[0] + gb * p10[0];
        dkv[o1 + dv + e] += ga * p00[1] + gb * p10[1];
        dkv[o2 + dv + e] += ga * p00[2] + gb * p10[2];
        dkv[o3 + dv + e] += ga * p00[3] + gb * p10[3];
        dkv[o4 + dv + e] += ga * p01[0] + gb * p11[0];
        dkv[o5 + dv + e] += ga * p01[1] + gb * p11[1];
        dkv[o6 + dv + e] += ga * p01[2] + gb * p11[2];
        dkv[o7 + dv + e] += ga * p01[3] + gb * p11[3];
      }
    }
  }
}
