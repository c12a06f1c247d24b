// attention_decode: attention of one query a row over `span` keys a thread, so that a long cache keeps many threads busy; attention_decode_merge ends it. q and k
// come as the linears made them: a thread rotates its own q (rope, as rope_cache does), and the one at the newest position puts k and v into the cache.
// Dao et al. 2023, "Flash-Decoding", https://crfm.stanford.edu/2023/10/12/flashdecoding.html; sums as in attention_forward.
//
//   partial (B, NH, spans, HS + 4)  f32  write       sum of exp(score - highest) v over a span of keys; then highest score, sum of exp(score - highest), 0, 0.
//                                                    A span past the newest key is left as it is
//   keys    (slots, TK, NKV, HS)    f32  read+write  rotated; at each row's position in its slot: k, v
//   values  (slots, TK, NKV, HS)    f32  read+write
//   q       (B, NH, HS)             f32  read
//   k, v    (B, NKV, HS)            f32  read
//   angles  (context, HS / 2, 2)    f32  read        see rope_forward
//   rows    (B, 2)                  u32  read        position of the query, its row's newest key; the row's slot
//
// HS, the head size, is a `const` in front of this file; a multiple of 4. Spans do not depend on B, so that a row's bits do not depend on its neighbours.
// Nobody reads what is written here: each thread that needs the newest key takes it from k.
// dispatch: one thread owns one span of one head of one row, neighbours own neighbouring heads and so as many keys; x: ceil(B * NH * spans / 32).

struct Params { first: u32, B: u32, TK: u32, spans: u32, span: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> keys: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> values: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> q: array<f32>;
@group(0) @binding(5) var<storage, read> k: array<f32>;
@group(0) @binding(6) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> angles: array<vec2<f32>>;
@group(0) @binding(8) var<storage, read> rows: array<vec2<u32>>;

override NH: u32;
override NKV: u32;

const HS4 = HS / 4u;
const HALF = HS / 2u;
const LOWEST = -3.0e38;

/** Channel c of what is rotated, out of it and its partner half a head away. */
fn turn(own: f32, partner: f32, c: u32, position: u32) -> f32 {
  let angle = angles[position * HALF + c % HALF];
  return select(own * angle.x + partner * angle.y, own * angle.x - partner * angle.y, c < HALF);
}
fn partner(c: u32) -> u32 { return select(c - HALF, c + HALF, c < HALF); }

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
  let end = min(newest, begin + params.span); // keys of the cache
  let group = NH / NKV;
  let cache = (rows[b].y * params.TK * NKV + head / group) * HS4;
  let stride = NKV * HS4;
  let scale = 1.0 / sqrt(f32(HS));

  var own: array<vec4<f32>, HS4>;
  var sum: array<vec4<f32>, HS4>;
  let query = (b * NH + head) * HS;
  for (var i = 0u; i < HS4; i++) {
    var part = vec4<f32>();
    for (var j = 0u; j < 4u; j++) {
      let c = 4u * i + j;
      part[j] = turn(q[query + c], q[query + partner(c)], c, newest);
    }
    own[i] = part * scale;
    sum[i] = vec4<f32>();
  }
  var highest = LOWEST;
  var total = 0.0;
  for (var j = begin; j < end; j += 4u) {
    let last = end - 1u;
    let k0 = cache + j * stride;
    let k1 = cache + min(j + 1u, last) * stride;
    let k2 = cache + min(j + 2u, last) * stride;
    let k3 = cache + min(j + 3u, last) * stride;
    var score = vec4<f32>();
    for (var i = 0u; i < HS4; i++) {
      let part = own[i];
      score += vec4<f32>(dot(part, keys[k0 + i]), dot(part, keys[k1 + i]), dot(part, keys[k2 + i]), dot(part, keys[k3 + i]));
    }
    score = select(vec4<f32>(LOWEST), score, vec4<u32>(j, j + 1u, j + 2u, j + 3u) <= vec4<u32>(last));
    let raised = max(max(highest, max(score.x, score.y)), max(score.z, score.w));
    let shrink = exp(highest - raised);
    let weight = exp(score - raised);
    total = total * shrink + (weight.x + weight.y) + (weight.z + weight.w);
    for (var i = 0u; i < HS4; i++) {
      sum[i] = sum[i] * shrink + (weight.x * values[k0 + i] + weight.y * values[k1 + i]) + (weight.z * values[k2 + i] + weight.w * values[k3 + i]);
    }
    highest = raised;
  }
  if (newest < begin + params.span) {
    let at = (b * NKV + head / group) * HS;
    let to = cache + newest * stride;
    let first = head % group == 0u; // of the heads that share this key
    var score = 0.0;
    for (var i = 0u; i < HS4; i++) {
      var part = vec4<f32>();
      for (var j = 0u; j < 4u; j++) {
        let c = 4u * i + j;
        part[j] = turn(k[at + c], k[at + partner(c)], c, newest);
      }
      score += dot(own[i], part);
      if (first) {
        keys[to + i] = part;
        values[to + i] = v[at / 4u + i];
      }
    }
    let raised = max(highest, score);
    let shrink = exp(highest - raised);
    let weight = exp(score - raised);
    total = total * shrink + weight;
    for (var i = 0u; i < HS4; i++) { sum[i] = sum[i] * shrink + weight * v[at / 4u + i]; }
    highest = raised;
  }
  let to = ((b * NH + head) * params.spans + span) * (HS4 + 1u);
  for (var i = 0u; i < HS4; i++) { partial[to + i] = sum[i]; }
  partial[to + HS4] = vec4<f32>(highest, total, 0.0, 0.0);
}
