// attention_decode: attention of one query a row over `span` keys a thread, so that a long cache keeps many threads busy; attention_decode_merge ends it.
// Dao et al. 2023, "Flash-Decoding", https://crfm.stanford.edu/2023/10/12/flashdecoding.html; sums as in attention_forward.
//
//   partial (B, NH, spans, HS)  f32  write  sum of exp(score - highest) v over a span of keys; a span past the newest key is left as it is
//   stats   (B, NH, spans, 2)   f32  write  highest score; sum of exp(score - highest)
//   q       (B, NH, HS)         f32  read
//   k, v    (slots, TK, NKV, HS)  f32  read
//   rows    (B, 2)              u32  read   position of the query, its row's newest key; the row's slot
//
// HS, the head size, is a `const` in front of this file; a multiple of 4. Spans do not depend on B, so that a row's bits do not depend on its neighbours.
// dispatch: one thread owns one span of one head of one row, neighbours own neighbouring heads and so as many keys; x: ceil(B * NH * spans / 32).

struct Params { first: u32, B: u32, TK: u32, spans: u32, span: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> rows: array<vec2<u32>>;

override NH: u32;
override NKV: u32;

const HS4 = HS / 4u;
const LOWEST = -3.0e38;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let index = (wg.x + params.first) * 32u + local.x;
  let head = index % NH;
  let b = (index / NH) % params.B;
  let span = index / NH / params.B;
  if (span >= params.spans) { return; }
  let newest = min(rows[b].x, params.TK - 1u);
  let begin = span * params.span;
  if (begin > newest) { return; }
  let last = min(newest, begin + params.span - 1u);
  let keys = (rows[b].y * params.TK * NKV + head / (NH / NKV)) * HS4;
  let stride = NKV * HS4;
  let query = (b * NH + head) * HS4;
  let scale = 1.0 / sqrt(f32(HS));

  var own: array<vec4<f32>, HS4>;
  var sum: array<vec4<f32>, HS4>;
  for (var i = 0u; i < HS4; i++) {
    own[i] = q[query + i] * scale;
    sum[i] = vec4<f32>();
  }
  var highest = LOWEST;
  var total = 0.0;
  for (var j = begin; j <= last; j += 4u) {
    let k0 = keys + j * stride;
    let k1 = keys + min(j + 1u, last) * stride;
    let k2 = keys + min(j + 2u, last) * stride;
    let k3 = keys + min(j + 3u, last) * stride;
    var score = vec4<f32>();
    for (var i = 0u; i < HS4; i++) {
      let part = own[i];
      score += vec4<f32>(dot(part, k[k0 + i]), dot(part, k[k1 + i]), dot(part, k[k2 + i]), dot(part, k[k3 + i]));
    }
    score = select(vec4<f32>(LOWEST), score, vec4<u32>(j, j + 1u, j + 2u, j + 3u) <= vec4<u32>(last));
    let raised = max(max(highest, max(score.x, score.y)), max(score.z, score.w));
    let shrink = exp(highest - raised);
    let weight = exp(score - raised);
    total = total * shrink + (weight.x + weight.y) + (weight.z + weight.w);
    for (var i = 0u; i < HS4; i++) {
      sum[i] = sum[i] * shrink + (weight.x * v[k0 + i] + weight.y * v[k1 + i]) + (weight.z * v[k2 + i] + weight.w * v[k3 + i]);
    }
    highest = raised;
  }
  let to = (b * NH + head) * params.spans + span;
  for (var i = 0u; i < HS4; i++) { partial[to * HS4 + i] = sum[i]; }
  stats[to] = vec2<f32>(highest, total);
}
