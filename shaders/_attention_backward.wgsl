// What attention_backward_dq and attention_backward_dkv share: their inputs, and the probabilities of one block of 8 queries by 8 keys, recomputed
// from the kept log-sum-exp (a tile of 4 by 4 took 1.5 times as long on SwiftShader, at head sizes 8 and 64). TQ queries against TK keys: query t
// stands at position OFFSET + t, key j at j; a query sees keys up to its own position. Query head h reads key-value head h / (NH / NKV).
//
//   dO    (B, TQ, NH, HS)  f32  read
//   delta (B, TQ, NH)      f32  read  of attention_backward_delta
//   lse   (B, TQ, NH)      f32  read  kept by attention_forward: log of the sum of exp of the scaled scores
//   q     (B, TQ, NH, HS)  f32  read  after its rotation
//   k, v  (B, TK, NKV, HS) f32  read
//
// HS is a multiple of 4. Sizes are params, so that one compiled kernel serves every model: compiling takes SwiftShader a second. Binding 8 is free for
// segment ids, which would join `sees`.

override WG: u32 = 32u; // threads per workgroup

struct Params {
  first: u32, B: u32, TQ: u32, TK: u32, OFFSET: u32,
  STRIDE: u32, DK: u32, DV: u32, // of the gradients: see each
  NH: u32, NKV: u32, HS: u32,    // query heads, key-value heads, head size
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dO: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> delta: array<f32>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> v: array<vec4<f32>>;

/** Four queries by four keys: column r belongs to the r-th query, component c to the c-th key; 0 where the query does not see the key or either is past
 *  the end. */
struct Quarter {
  p: mat4x4<f32>,  // probabilities
  ds: mat4x4<f32>, // gradient of q k^T
}
/** Quarter `ab` holds queries t + 4 a to t + 4 a + 3 and keys j + 4 b to j + 4 b + 3. */
struct Block {
  q00: Quarter,
  q01: Quarter,
  q10: Quarter,
  q11: Quarter,
}

/** First vec4 of a query's row of one head in q and dO, and of a key's in k and v; places past the end read the last row. */
fn query_at(b: u32, t: u32, head: u32) -> u32 {
  return ((b * params.TQ + min(t, params.TQ - 1u)) * params.NH + head) * (params.HS / 4u);
}
fn key_at(b: u32, j: u32, head: u32) -> u32 {
  let own = head / (params.NH / params.NKV);
  return ((b * params.TK + min(j, params.TK - 1u)) * params.NKV + own) * (params.HS / 4u);
}

fn sees(t: u32, j: u32) -> vec4<bool> {
  let keys = vec4<u32>(j, j + 1u, j + 2u, j + 3u);
  return (keys <= vec4<u32>(params.OFFSET + t)) & (keys < vec4<u32>(params.TK)) & vec4<bool>(t < params.TQ);
}

fn probability(scores: vec4<f32>, row: u32, t: u32, j: u32) -> vec4<f32> {
  return select(vec4<f32>(), exp(scores - lse[row]), sees(t, j));
}

/** From q k^T and dO v^T. */
fn quarter(scores: mat4x4<f32>, dp: mat4x4<f32>, b: u32, t: u32, j: u32, head: u32) -> Quarter {
  let scale = 1.0 / sqrt(f32(params.HS));
  let r0 = query_at(b, t, head) / (params.HS / 4u);
  let r1 = query_at(b, t + 1u, head) / (params.HS / 4u);
  let r2 = query_at(b, t + 2u, head) / (params.HS / 4u);
  let r3 = query_at(b, t + 3u, head) / (params.HS / 4u);
  let p = mat4x4<f32>(
    probability(scores[0] * scale, r0, t, j),
    probability(scores[1] * scale, r1, t + 1u, j),
    probability(scores[2] * scale, r2, t + 2u, j),
    probability(scores[3] * scale, r3, t + 3u, j),
  );
  let ds = mat4x4<f32>(
    p[0] * (dp[0] - delta[r0]) * scale,
    p[1] * (dp[1] - delta[r1]) * scale,
    p[2] * (dp[2] - delta[r2]) * scale,
    p[3] * (dp[3] - delta[r3]) * scale,
  );
  return Quarter(p, ds);
}

fn block(b: u32, t: u32, j: u32, head: u32) -> Block {
  let q0 = query_at(b, t + 0u, head);
  let q1 = query_at(b, t + 1u, head);
  let q2 = query_at(b, t + 2u, head);
  let q3 = query_at(b, t + 3u, head);
  let q4 = query_at(b, t + 4u, head);
  let q5 = query_at(b, t + 5u, head);
  let q6 = query_at(b, t + 6u, head);
  let q7 = query_at(b, t + 7u, head);
  let k0 = key_at(b, j + 0u, head);
  let k1 = key_at(b, j + 1u, head);
  let k2 = key_at(b, j + 2u, head);
  let k3 = key_at(b, j + 3u, head);
  let k4 = key_at(b, j + 4u, head);
  let k5 = key_at(b, j + 5u, head);
  let k6 = key_at(b, j + 6u, head);
  let k7 = key_at(b, j + 7u, head);
  var s00 = mat4x4<f32>();
  var s01 = mat4x4<f32>();
  var s10 = mat4x4<f32>();
  var s11 = mat4x4<f32>();
  var x00 = mat4x4<f32>();
  var x01 = mat4x4<f32>();
  var x10 = mat4x4<f32>();
  var x11 = mat4x4<f32>();
  for (var e = 0u; e < params.HS / 4u; e++) {
    let qa = mat4x4<f32>(q[q0 + e], q[q1 + e], q[q2 + e], q[q3 + e]);
    let qb = mat4x4<f32>(q[q4 + e], q[q5 + e], q[q6 + e], q[q7 + e]);
    let ka = transpose(mat4x4<f32>(k[k0 + e], k[k1 + e], k[k2 + e], k[k3 + e]));
    let kb = transpose(mat4x4<f32>(k[k4 + e], k[k5 + e], k[k6 + e], k[k7 + e]));
    s00 += ka * qa;
    s01 += kb * qa;
    s10 += ka * qb;
    s11 += kb * qb;
  }
  for (var e = 0u; e < params.HS / 4u; e++) {
    let ga = mat4x4<f32>(dO[q0 + e], dO[q1 + e], dO[q2 + e], dO[q3 + e]);
    let gb = mat4x4<f32>(dO[q4 + e], dO[q5 + e], dO[q6 + e], dO[q7 + e]);
    let va = transpose(mat4x4<f32>(v[k0 + e], v[k1 + e], v[k2 + e], v[k3 + e]));
    let vb = transpose(mat4x4<f32>(v[k4 + e], v[k5 + e], v[k6 + e], v[k7 + e]));
    x00 += va * ga;
    x01 += vb * ga;
    x10 += va * gb;
    x11 += vb * gb;
  }
  return Block(
    quarter(s00, x00, b, t, j, head),
    quarter(s01, x01, b, t, j + 4u, head),
    quarter(s10, x10, b, t + 4u, j, head),
    quarter(s11, x11, b, t + 4u, j + 4u, head),
  );
}
