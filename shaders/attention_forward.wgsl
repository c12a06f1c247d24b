// attention_forward: o = softmax(q k^T / sqrt(HS)) v under the causal mask, with grouped key-value heads, never holding the scores.
// Dao et al. 2022, "FlashAttention", arXiv:2205.14135, alg. 1: a running maximum and sum, here by one thread a query and head, four keys at a time.
// Ainslie et al. 2023, "GQA", arXiv:2305.13245: query head h reads key-value head h / (NH / NKV).
//
//   o    (B, TQ, NH, HS)       f32  write
//   lse  (B, TQ, NH)           f32  write  log of the sum of exp(scaled scores), kept for attention_backward
//   q    (B, TQ, NH, HS)       f32  read
//   k, v (slots, TK, NKV, HS)  f32  read   a cache, or this batch's own keys with TK = TQ and slot = b
//   rows (B, 2)                u32  read   position of a row's first query among the keys; the row's slot in k and v
//
// Query t of row b sees keys 0 to rows[b].x + t. Segment ids for packed rows will be one more binding, the first key a query sees; two are free.
// HS, the head size, is a `const` in front of this file, since it sizes arrays; a multiple of 4.
// dispatch: one thread owns one query of one head, neighbours own neighbouring queries and so read the same keys; x: ceil(B * NH * TQ / 64).

struct Params { first: u32, B: u32, TQ: u32, TK: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> o: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;
@group(0) @binding(3) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> rows: array<vec2<u32>>;

override NH: u32;
override NKV: u32;

const HS4 = HS / 4u;
const LOWEST = -3.0e38;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let index = (wg.x + params.first) * 64u + local.x;
  let t = index % params.TQ;
  let head = (index / params.TQ) % NH;
  let b = index / params.TQ / NH;
  if (b >= params.B) { return; }
  let newest = min(rows[b].x + t, params.TK - 1u);
  let keys = (rows[b].y * params.TK * NKV + head / (NH / NKV)) * HS4;
  let stride = NKV * HS4;
  let query = ((b * params.TQ + t) * NH + head) * HS4;
  let scale = 1.0 / sqrt(f32(HS));

  var own: array<vec4<f32>, HS4>;
  var sum: array<vec4<f32>, HS4>;
  for (var i = 0u; i < HS4; i++) {
    own[i] = q[query + i] * scale;
    sum[i] = vec4<f32>();
  }
  var highest = LOWEST;
  var total = 0.0;
  for (var j = 0u; j <= newest; j += 4u) {
    // Past the newest key that key is read again, and its weight is 0.
    let k0 = keys + j * stride;
    let k1 = keys + min(j + 1u, newest) * stride;
    let k2 = keys + min(j + 2u, newest) * stride;
    let k3 = keys + min(j + 3u, newest) * stride;
    var score = vec4<f32>();
    for (var i = 0u; i < HS4; i++) {
      let part = own[i];
      score += vec4<f32>(dot(part, k[k0 + i]), dot(part, k[k1 + i]), dot(part, k[k2 + i]), dot(part, k[k3 + i]));
    }
    score = select(vec4<f32>(LOWEST), score, vec4<u32>(j, j + 1u, j + 2u, j + 3u) <= vec4<u32>(newest));
    let raised = max(max(highest, max(score.x, score.y)), max(score.z, score.w));
    let shrink = exp(highest - raised);
    let weight = exp(score - raised);
    total = total * shrink + (weight.x + weight.y) + (weight.z + weight.w);
    for (var i = 0u; i < HS4; i++) {
      sum[i] = sum[i] * shrink + (weight.x * v[k0 + i] + weight.y * v[k1 + i]) + (weight.z * v[k2 + i] + weight.w * v[k3 + i]);
    }
    highest = raised;
  }
  for (var i = 0u; i < HS4; i++) { o[query + i] = sum[i] / total; }
  lse[(b * params.TQ + t) * NH + head] = highest + log(total);
}
