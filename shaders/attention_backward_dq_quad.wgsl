// attention_backward_dq_quad: attention_backward_dq in quads. Joined after _quad and _attention_backward_quad.
//
// dispatch: one thread for four queries of one head, a quad for 16: B * NH * ceil(TQ / 16) * 4 threads.

@group(0) @binding(1) var<storage, read_write> dq: array<vec4<f32>>;

/** Of four queries (columns) from t on and four keys (components) from j on: the gradient of q k^T from scores, dO v^T, lse and delta. */
fn slope(scores: mat4x4<f32>, dp: mat4x4<f32>, logs: vec4<f32>, own: vec4<f32>, t: u32, j: u32) -> mat4x4<f32> {
  return mat4x4<f32>(
    slope_of(scores[0], dp[0], logs.x, own.x, t, j),
    slope_of(scores[1], dp[1], logs.y, own.y, t + 1u, j),
    slope_of(scores[2], dp[2], logs.z, own.z, t + 2u, j),
    slope_of(scores[3], dp[3], logs.w, own.w, t + 3u, j),
  );
}
fn slope_of(scores: vec4<f32>, dp: vec4<f32>, logs: f32, own: f32, t: u32, j: u32) -> vec4<f32> {
  let p = select(vec4<f32>(), exp(scores * scale() - logs), sees(t, j));
  return p * (dp - own) * scale();
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let quad = (group.x + params.first) * (WG / 4u) + local / 4u;
  let lane = local % 4u;
  let tiles = (params.TQ + 15u) / 16u;
  let t0 = quad % tiles * 16u;
  let head = quad / tiles % params.NH;
  let b = quad / tiles / params.NH;
  if (b >= params.B) { return; }
  let own = head / (params.NH / params.NKV);
  let t = t0 + lane * 4u;
  let at = vec4<u32>(query_at(b, t, head), query_at(b, t + 1u, head), query_at(b, t + 2u, head), query_at(b, t + 3u, head));
  let logs = vec4<f32>(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
  let deltas = vec4<f32>(delta[at.x], delta[at.y], delta[at.z], delta[at.w]);
  let row = at * HS4;
  var sum: array<mat4x4<f32>, HS4>;
  for (var e = 0u; e < HS4; e++) { sum[e] = mat4x4<f32>(); }
  let end = min(params.TK, params.OFFSET + min(t0 + 16u, params.TQ));
  for (var j = 0u; j < end; j += 16u) {
    let k0 = key_at(b, j + lane, own);
    let k1 = key_at(b, j + 4u + lane, own);
    let k2 = key_at(b, j + 8u + lane, own);
    let k3 = key_at(b, j + 12u + lane, own);
    var s0 = mat4x4<f32>();
    var s1 = mat4x4<f32>();
    var s2 = mat4x4<f32>();
    var s3 = mat4x4<f32>();
    var x0 = mat4x4<f32>();
    var x1 = mat4x4<f32>();
    var x2 = mat4x4<f32>();
    var x3 = mat4x4<f32>();
    for (var e = 0u; e < HS4; e++) {
      let x = mat4x4<f32>(q[row.x + e], q[row.y + e], q[row.z + e], q[row.w + e]);
      s0 += times(transpose(of_all(k[k0 + e])), x);
      s1 += times(transpose(of_all(k[k1 + e])), x);
      s2 += times(transpose(of_all(k[k2 + e])), x);
      s3 += times(transpose(of_all(k[k3 + e])), x);
      let g = mat4x4<f32>(dO[row.x + e], dO[row.y + e], dO[row.z + e], dO[row.w + e]);
      x0 += times(transpose(of_all(v[k0 + e])), g);
      x1 += times(transpose(of_all(v[k1 + e])), g);
      x2 += times(transpose(of_all(v[k2 + e])), g);
      x3 += times(transpose(of_all(v[k3 + e])), g);
    }
    s0 = slope(s0, x0, logs, deltas, t, j);
    s1 = slope(s1, x1, logs, deltas, t, j + 4u);
    s2 = slope(s2, x2, logs, deltas, t, j + 8u);
    s3 = slope(s3, x3, logs, deltas, t, j + 12u);
    for (var e = 0u; e < HS4; e++) {
      sum[e] += times(of_all(k[k0 + e]), s0) + times(of_all(k[k1 + e]), s1) + times(of_all(k[k2 + e]), s2) + times(of_all(k[k3 + e]), s3);
    }
  }
  let stride = params.STRIDE / 4u;
  let to = (b * params.TQ + t) * stride + head * HS4;
  for (var e = 0u; e < HS4; e++) {
    let done = sum[e];
    if (t < params.TQ) { dq[to + e] = done[0]; }
    if (t + 1u < params.TQ) { dq[to + stride + e] = done[1]; }
    if (t + 2u < params.TQ) { dq[to + 2u * stride + e] = done[2]; }
    if (t + 3u < params.TQ) { dq[to + 3u * stride + e] = done[3]; }
  }
}
