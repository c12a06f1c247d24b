// attention_backward_dkv_quad: attention_backward_dkv in quads. Joined after _quad and _attention_backward_quad.
//
// dispatch: one thread for four keys of one key-value head, a quad for 16: B * NKV * ceil(TK / 16) * 4 threads.

@group(0) @binding(1) var<storage, read_write> dkv: array<vec4<f32>>;

/** Four queries from t on (components) and four keys from j on (columns): probabilities. */
fn probabilities(scores: mat4x4<f32>, logs: vec4<f32>, t: u32, j: u32) -> mat4x4<f32> {
  return mat4x4<f32>(
    probability(scores[0], logs, t, j),
    probability(scores[1], logs, t, j + 1u),
    probability(scores[2], logs, t, j + 2u),
    probability(scores[3], logs, t, j + 3u),
  );
}
fn probability(scores: vec4<f32>, logs: vec4<f32>, t: u32, j: u32) -> vec4<f32> {
  return select(vec4<f32>(), exp(scores * scale() - logs), seen_by(t, j));
}
/** The gradient of q k^T from probabilities, dO v^T and delta. */
fn slope(p: mat4x4<f32>, dp: mat4x4<f32>, deltas: vec4<f32>) -> mat4x4<f32> {
  let by = scale();
  return mat4x4<f32>(p[0] * (dp[0] - deltas) * by, p[1] * (dp[1] - deltas) * by, p[2] * (dp[2] - deltas) * by, p[3] * (dp[3] - deltas) * by);
}
fn each_of_all(own: f32) -> vec4<f32> {
  return vec4<f32>(quadBroadcast(own, 0u), quadBroadcast(own, 1u), quadBroadcast(own, 2u), quadBroadcast(own, 3u));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let quad = (group.x + params.first) * (WG / 4u) + local / 4u;
  let lane = local % 4u;
  let tiles = (params.TK + 15u) / 16u;
  let j0 = quad % tiles * 16u;
  let own = quad / tiles % params.NKV;
  let b = quad / tiles / params.NKV;
  if (b >= params.B) { return; }
  let j = j0 + lane * 4u;
  let key = vec4<u32>(key_at(b, j, own), key_at(b, j + 1u, own), key_at(b, j + 2u, own), key_at(b, j + 3u, own));
  var dk: array<mat4x4<f32>, HS4>;
  var dv: array<mat4x4<f32>, HS4>;
  for (var e = 0u; e < HS4; e++) {
    dk[e] = mat4x4<f32>();
    dv[e] = mat4x4<f32>();
  }
  let shared_by = params.NH / params.NKV;
  let start = select(0u, j0 - params.OFFSET, j0 > params.OFFSET); // the first query that sees the quad's first key
  for (var head = own * shared_by; head < (own + 1u) * shared_by; head++) {
    for (var t = start; t < params.TQ; t += 16u) {
      let r0 = query_at(b, t + lane, head);
      let r1 = query_at(b, t + 4u + lane, head);
      let r2 = query_at(b, t + 8u + lane, head);
      let r3 = query_at(b, t + 12u + lane, head);
      var s0 = mat4x4<f32>();
      var s1 = mat4x4<f32>();
      var s2 = mat4x4<f32>();
      var s3 = mat4x4<f32>();
      var x0 = mat4x4<f32>();
      var x1 = mat4x4<f32>();
      var x2 = mat4x4<f32>();
      var x3 = mat4x4<f32>();
      for (var e = 0u; e < HS4; e++) {
        let x = mat4x4<f32>(k[key.x + e], k[key.y + e], k[key.z + e], k[key.w + e]);
        s0 += times(transpose(of_all(q[r0 * HS4 + e])), x);
        s1 += times(transpose(of_all(q[r1 * HS4 + e])), x);
        s2 += times(transpose(of_all(q[r2 * HS4 + e])), x);
        s3 += times(transpose(of_all(q[r3 * HS4 + e])), x);
        let g = mat4x4<f32>(v[key.x + e], v[key.y + e], v[key.z + e], v[key.w + e]);
        x0 += times(transpose(of_all(dO[r0 * HS4 + e])), g);
        x1 += times(transpose(of_all(dO[r1 * HS4 + e])), g);
        x2 += times(transpose(of_all(dO[r2 * HS4 + e])), g);
        x3 += times(transpose(of_all(dO[r3 * HS4 + e])), g);
      }
      let p0 = probabilities(s0, each_of_all(lse[r0]), t, j);
      let p1 = probabilities(s1, each_of_all(lse[r1]), t + 4u, j);
      let p2 = probabilities(s2, each_of_all(lse[r2]), t + 8u, j);
      let p3 = probabilities(s3, each_of_all(lse[r3]), t + 12u, j);
      s0 = slope(p0, x0, each_of_all(delta[r0]));
      s1 = slope(p1, x1, each_of_all(delta[r1]));
      s2 = slope(p2, x2, each_of_all(delta[r2]));
      s3 = slope(p3, x3, each_of_all(delta[r3]));
      for (var e = 0u; e < HS4; e++) {
        dk[e] += times(of_all(q[r0 * HS4 + e]), s0) + times(of_all(q[r1 * HS4 + e]), s1) + times(of_all(q[r2 * HS4 + e]), s2)
          + times(of_all(q[r3 * HS4 + e]), s3);
        dv[e] += times(of_all(dO[r0 * HS4 + e]), p0) + times(of_all(dO[r1 * HS4 + e]), p1) + times(of_all(dO[r2 * HS4 + e]), p2)
          + times(of_all(dO[r3 * HS4 + e]), p3);
      }
    }
  }
  let stride = params.STRIDE / 4u;
  let to = (b * params.TK + j) * stride + params.DK / 4u + own * HS4;
  let further = (params.DV - params.DK) / 4u; // from a number of dk to its neighbour of dv
  for (var e = 0u; e < HS4; e++) {
    store(to + e, stride, j, dk[e]);
    store(to + further + e, stride, j, dv[e]);
  }
}
fn store(to: u32, stride: u32, j: u32, sum: mat4x4<f32>) {
  if (j < params.TK) { dkv[to] = sum[0]; }
  if (j + 1u < params.TK) { dkv[to + stride] = sum[1]; }
  if (j + 2u < params.TK) { dkv[to + 2u * stride] = sum[2]; }
  if (j + 3u < params.TK) { dkv[to + 3u * stride] = sum[3]; }
}
