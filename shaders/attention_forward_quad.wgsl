// attention_forward_quad: attention_forward with four threads side by side (_quad) on 16 neighbouring queries of one head, four of them each: every thread reads a
// quarter of the keys and values for all. Eight keys at a time. Bindings and what is computed are those of attention_forward; the sums are in another order.
// 2.0 times its speed on SwiftShader with heads of 8, 2.3 times with heads of 48; four queries a thread are more registers than GPUs have.
//
// dispatch: one thread owns four queries of one head; x: ceil(B * NH * ceil(TQ / 16) * 4 / WG).

override WG: u32 = 32u; // threads per workgroup, a multiple of 4

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

fn largest(a: vec4<f32>, b: vec4<f32>) -> f32 {
  let x = max(a, b);
  return max(max(x.x, x.y), max(x.z, x.w));
}
fn total_of(a: vec4<f32>, b: vec4<f32>) -> f32 {
  let x = a + b;
  return (x.x + x.y) + (x.z + x.w);
}
/** Scores of one query against four keys from j on; past its newest one they weigh 0. */
fn seen(scores: vec4<f32>, j: u32, newest: u32) -> vec4<f32> {
  let places = vec4<u32>(j, j + 1u, j + 2u, j + 3u);
  return select(vec4<f32>(LOWEST), scores * (1.0 / sqrt(f32(HS))), places <= vec4<u32>(newest));
}
/** A column each: w x. */
fn times(w: mat4x4<f32>, x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(w * x[0], w * x[1], w * x[2], w * x[3]);
}
fn store(at: u32, sum: array<mat4x4<f32>, HS4>, query: u32, total: f32, highest: f32) {
  for (var i = 0u; i < HS4; i++) { o[at + i] = sum[i][query] / total; }
  lse[at / HS4] = highest + log(total);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let quad = (wg.x + params.first) * (WG / 4u) + local / 4u;
  let lane = local % 4u;
  let tiles = (params.TQ + 15u) / 16u;
  let t0 = quad % tiles * 16u;
  let head = quad / tiles % NH;
  let b = quad / tiles / NH;
  if (b >= params.B) { return; }
  // Past the last query that query is taken again, and what comes of it is not written.
  let last = params.TQ - 1u;
  let t = t0 + lane * 4u;
  let queries = min(vec4<u32>(t, t + 1u, t + 2u, t + 3u), vec4<u32>(last));
  let place = rows[b].x;
  let newest = min(place + queries, vec4<u32>(params.TK - 1u));
  let newest_of_all = min(place + min(t0 + 15u, last), params.TK - 1u);
  let keys = (rows[b].y * params.TK * NKV + head / (NH / NKV)) * HS4;
  let stride = NKV * HS4;
  let at = ((b * params.TQ + queries) * NH + head) * HS4;

  var sum: array<mat4x4<f32>, HS4>;
  for (var i = 0u; i < HS4; i++) { sum[i] = mat4x4<f32>(); }
  var highest = vec4<f32>(LOWEST);
  var total = vec4<f32>();
  for (var j = 0u; j <= newest_of_all; j += 8u) {
    // Past the newest key of all that key is read again.
    let a = keys + min(j + lane, newest_of_all) * stride;
    let c = keys + min(j + 4u + lane, newest_of_all) * stride;
    var s = mat4x4<f32>();
    var u = mat4x4<f32>();
    for (var i = 0u; i < HS4; i++) {
      let x = mat4x4<f32>(q[at.x + i], q[at.y + i], q[at.z + i], q[at.w + i]);
      s += times(transpose(of_all(k[a + i])), x);
      u += times(transpose(of_all(k[c + i])), x);
    }
    s = mat4x4<f32>(seen(s[0], j, newest.x), seen(s[1], j, newest.y), seen(s[2], j, newest.z), seen(s[3], j, newest.w));
    let n = j + 4u;
    u = mat4x4<f32>(seen(u[0], n, newest.x), seen(u[1], n, newest.y), seen(u[2], n, newest.z), seen(u[3], n, newest.w));
    let raised = max(highest, vec4<f32>(largest(s[0], u[0]), largest(s[1], u[1]), largest(s[2], u[2]), largest(s[3], u[3])));
    let shrink = exp(highest - raised);
    s = mat4x4<f32>(exp(s[0] - raised.x), exp(s[1] - raised.y), exp(s[2] - raised.z), exp(s[3] - raised.w));
    u = mat4x4<f32>(exp(u[0] - raised.x), exp(u[1] - raised.y), exp(u[2] - raised.z), exp(u[3] - raised.w));
    total = total * shrink + vec4<f32>(total_of(s[0], u[0]), total_of(s[1], u[1]), total_of(s[2], u[2]), total_of(s[3], u[3]));
    for (var i = 0u; i < HS4; i++) {
      let old = sum[i];
      let shrunk = mat4x4<f32>(old[0] * shrink.x, old[1] * shrink.y, old[2] * shrink.z, old[3] * shrink.w);
      sum[i] = shrunk + times(of_all(v[a + i]), s) + times(of_all(v[c + i]), u);
    }
    highest = raised;
  }
  store(at.x, sum, 0u, total.x, highest.x);
  if (t + 1u <= last) { store(at.y, sum, 1u, total.y, highest.y); }
  if (t + 2u <= last) { store(at.z, sum, 2u, total.z, highest.z); }
  if (t + 3u <= last) { store(at.w, sum, 3u, total.w, highest.w); }
}
