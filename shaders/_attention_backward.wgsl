// What attention_backward_dq and attention_backward_dkv share: their inputs, and the probabilities of one block of 4 queries by 4 keys, recomputed
// from the kept log-sum-exp. TQ queries against TK keys: query t stands at position OFFSET + t, key j at j; a query sees keys up to its own position.
// Query head h reads key-value head h / (NH / NKV).
//
//   dO    (B, TQ, NH, HS)  f32  read
//   delta (B, TQ, NH)      f32  read  of attention_backward_delta
//   lse   (B, TQ, NH)      f32  read  kept by attention_forward: log of the sum of exp of the scaled scores
//   q     (B, TQ, NH, HS)  f32  read  after its rotation
//   k, v  (B, TK, NKV, HS) f32  read
//
// HS is a multiple of 4. Binding 8 is free for segment ids, which would join `sees`.

override WG: u32 = 32u; // threads per workgroup
override NH: u32;       // query heads
override NKV: u32;      // key-value heads
override HS: u32;       // head size

struct Params { first: u32, B: u32, TQ: u32, TK: u32, OFFSET: u32, STRIDE: u32, DK: u32, DV: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dO: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> delta: array<f32>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> v: array<vec4<f32>>;

/** Column r belongs to query t + r, component c to key j + c; 0 where the query does not see the key or either is past the end. */
struct Block {
  p: mat4x4<f32>,  // probabilities
  ds: mat4x4<f32>, // gradient of q k^T
}

/** First vec4 of a query's row of one head in q and dO, and of a key's in k and v; places past the end read the last row. */
fn query_at(b: u32, t: u32, head: u32) -> u32 { return ((b * params.TQ + min(t, params.TQ - 1u)) * NH + head) * (HS / 4u); }
fn key_at(b: u32, j: u32, head: u32) -> u32 { return ((b * params.TK + min(j, params.TK - 1u)) * NKV + head / (NH / NKV)) * (HS / 4u); }

fn sees(t: u32, j: u32) -> vec4<bool> {
  let keys = vec4<u32>(j, j + 1u, j + 2u, j + 3u);
  return (keys <= vec4<u32>(params.OFFSET + t)) & (keys < vec4<u32>(params.TK)) & vec4<bool>(t < params.TQ);
}

fn probability(scores: vec4<f32>, row: u32, t: u32, j: u32) -> vec4<f32> {
  return select(vec4<f32>(), exp(scores - lse[row]), sees(t, j));
}

fn block(b: u32, t: u32, j: u32, head: u32) -> Block {
  let H4 = HS / 4u;
  let scale = 1.0 / sqrt(f32(HS));
  let q0 = query_at(b, t, head);
  let q1 = query_at(b, t + 1u, head);
  let q2 = query_at(b, t + 2u, head);
  let q3 = query_at(b, t + 3u, head);
  let k0 = key_at(b, j, head);
  let k1 = key_at(b, j + 1u, head);
  let k2 = key_at(b, j + 2u, head);
  let k3 = key_at(b, j + 3u, head);
  var s = mat4x4<f32>();
  var dp = mat4x4<f32>();
  for (var e = 0u; e < H4; e++) {
    let keys = transpose(mat4x4<f32>(k[k0 + e], k[k1 + e], k[k2 + e], k[k3 + e]));
    s += keys * mat4x4<f32>(q[q0 + e], q[q1 + e], q[q2 + e], q[q3 + e]);
    let values = transpose(mat4x4<f32>(v[k0 + e], v[k1 + e], v[k2 + e], v[k3 + e]));
    dp += values * mat4x4<f32>(dO[q0 + e], dO[q1 + e], dO[q2 + e], dO[q3 + e]);
  }
  let r0 = q0 / H4;
  let r1 = q1 / H4;
  let r2 = q2 / H4;
  let r3 = q3 / H4;
  let p = mat4x4<f32>(
    probability(s[0] * scale, r0, t, j),
    probability(s[1] * scale, r1, t + 1u, j),
    probability(s[2] * scale, r2, t + 2u, j),
    probability(s[3] * scale, r3, t + 3u, j),
  );
  let ds = mat4x4<f32>(
    p[0] * (dp[0] - delta[r0]) * scale,
    p[1] * (dp[1] - delta[r1]) * scale,
    p[2] * (dp[2] - delta[r2]) * scale,
    p[3] * (dp[3] - delta[r3]) * scale,
  );
  return Block(p, ds);
}
