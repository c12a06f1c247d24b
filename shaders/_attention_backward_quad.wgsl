// What attention_backward_dq_quad and attention_backward_dkv_quad share. Their bindings, params and arithmetic are those of _attention_backward; the sums are in
// another order. A thread owns four queries or keys of one head and goes through the others 16 at a time, of which each of a quad's threads reads a quarter for
// all four (_quad). HS, the head size, is a `const` in front, since it sizes arrays.

override WG: u32 = 32u; // threads per workgroup, a multiple of 4

struct Params {
  first: u32, B: u32, TQ: u32, TK: u32, OFFSET: u32,
  STRIDE: u32, DK: u32, DV: u32, // of the gradients: see each
  NH: u32, NKV: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dO: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> delta: array<f32>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> v: array<vec4<f32>>;

const HS4 = HS / 4u;

/** A column each: w x. */
fn times(w: mat4x4<f32>, x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(w * x[0], w * x[1], w * x[2], w * x[3]);
}
/** Places of a query's lse and delta, and of a key's row in k and v; past the end those of the last one. */
fn query_at(b: u32, t: u32, head: u32) -> u32 { return (b * params.TQ + min(t, params.TQ - 1u)) * params.NH + head; }
fn key_at(b: u32, j: u32, own: u32) -> u32 { return ((b * params.TK + min(j, params.TK - 1u)) * params.NKV + own) * HS4; }
/** Which of four keys from j on the query at t sees: none past the end. */
fn sees(t: u32, j: u32) -> vec4<bool> {
  let keys = vec4<u32>(j, j + 1u, j + 2u, j + 3u);
  return (keys <= vec4<u32>(params.OFFSET + t)) & (keys < vec4<u32>(params.TK)) & vec4<bool>(t < params.TQ);
}
/** Which of four queries from t on see the key at j. */
fn seen_by(t: u32, j: u32) -> vec4<bool> {
  let queries = vec4<u32>(t, t + 1u, t + 2u, t + 3u);
  return (vec4<u32>(j) <= params.OFFSET + queries) & (queries < vec4<u32>(params.TQ)) & vec4<bool>(j < params.TK);
}

fn scale() -> f32 { return 1.0 / sqrt(f32(HS)); }
