// attention_forward: o = softmax(q k^T / sqrt(HS)) v under the causal mask, with grouped key-value heads, never holding the scores.
// Dao et al. 2022, "FlashAttention", arXiv:2205.14135, alg. 1: a running maximum and sum, here four keys and two queries at a time.
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
// dispatch: one thread owns two queries of one head, neighbours own neighbouring queries; x: ceil(B * NH * ceil(TQ / 2) / 64). Two, so that each key and
// value is read once for both: 1.4 times the speed of one on SwiftShader, heads of 64. Four are 2.2 times, and more registers than GPUs have.

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

fn largest(x: vec4<f32>) -> f32 {
  return max(max(x.x, x.y), max(x.z, x.w));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let index = (wg.x + params.first) * 64u + local.x;
  let pairs = (params.TQ + 1u) / 2u;
  let t = (index % pairs) * 2u;
  let head = (index / pairs) % NH;
  let b = index / pairs / NH;
  if (b >= params.B) { return; }
  // Past the last query that query is taken again, and what comes of it is not written.
  let second = min(t + 1u, params.TQ - 1u);
  let newest = min(rows[b].x + vec2<u32>(t, second), vec2<u32>(params.TK - 1u));
  let keys = (rows[b].y * params.TK * NKV + head / (NH / NKV)) * HS4;
  let stride = NKV * HS4;
  let q0 = ((b * params.TQ + t) * NH + head) * HS4;
  let q1 = ((b * params.TQ + second) * NH + head) * HS4;
  let scale = 1.0 / sqrt(f32(HS));

  var sum0: array<vec4<f32>, HS4>;
  var sum1: array<vec4<f32>, HS4>;
  for (var i = 0u; i < HS4; i++) {
    sum0[i] = vec4<f32>();
    sum1[i] = vec4<f32>();
  }
  var highest = vec2<f32>(LOWEST);
  var total = vec2<f32>();
  for (var j = 0u; j <= newest.y; j += 4u) {
    // Past a query's newest key its weights are 0; past the newest of both that key is read again.
    let k0 = keys + j * stride;
    let k1 = keys + min(j + 1u, newest.y) * stride;
    let k2 = keys + min(j + 2u, newest.y) * stride;
    let k3 = keys + min(j + 3u, newest.y) * stride;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    for (var i = 0u; i < HS4; i++) {
      let key = transpose(mat4x4<f32>(k[k0 + i], k[k1 + i], k[k2 + i], k[k3 + i]));
      s0 += key * q[q0 + i];
      s1 += key * q[q1 + i];
    }
    let places = vec4<u32>(j, j + 1u, j + 2u, j + 3u);
    s0 = select(vec4<f32>(LOWEST), s0 * scale, places <= vec4<u32>(newest.x));
    s1 = select(vec4<f32>(LOWEST), s1 * scale, places <= vec4<u32>(newest.y));
    let raised = max(highest, vec2<f32>(largest(s0), largest(s1)));
    let shrink = exp(highest - raised);
    let p0 = exp(s0 - raised.x);
    let p1 = exp(s1 - raised.y);
    total = total * shrink + vec2<f32>((p0.x + p0.y) + (p0.z + p0.w), (p1.x + p1.y) + (p1.z + p1.w));
    for (var i = 0u; i < HS4; i++) {
      let value = mat4x4<f32>(v[k0 + i], v[k1 + i], v[k2 + i], v[k3 + i]);
      sum0[i] = sum0[i] * shrink.x + value * p0;
      sum1[i] = sum1[i] * shrink.y + value * p1;
    }
    highest = raised;
  }
  let logs = highest + log(total);
  for (var i = 0u; i < HS4; i++) { o[q0 + i] = sum0[i] / total.x; }
  lse[q0 / HS4] = logs.x;
  if (second > t) {
    for (var i = 0u; i < HS4; i++) { o[q1 + i] = sum1[i] / total.y; }
    lse[q1 / HS4] = logs.y;
  }
}
