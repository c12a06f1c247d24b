// attention_decode_merge: o = sum over spans of exp(highest_span - highest) partial_span, over the same sum of their totals.
//
//   o       (B, NH, HS)             f32  write
//   partial (B, NH, spans, HS + 4)  f32  read   of attention_decode: a span's sum, its highest score and its total
//   rows    (B, 2)                  u32  read   position of the query: spans past it hold nothing
//
// dispatch: one thread owns four channels of one head of one row; x: ceil(B * NH * HS / 4 / 64).

struct Params { first: u32, B: u32, TK: u32, spans: u32, span: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> o: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> rows: array<vec2<u32>>;

override NH: u32;
override HS: u32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let index = (wg.x + params.first) * 64u + local.x;
  let HS4 = HS / 4u;
  let head = index / HS4; // of all rows
  let b = head / NH;
  if (b >= params.B) { return; }
  let size = HS4 + 1u;
  let begin = head * params.spans * size;
  let end = begin + (min(rows[b].x, params.TK - 1u) / params.span + 1u) * size;
  var highest = -3.0e38;
  for (var i = begin; i < end; i += size) { highest = max(highest, partial[i + HS4].x); }
  var total = 0.0;
  var sum = vec4<f32>();
  for (var i = begin; i < end; i += size) {
    let weight = exp(partial[i + HS4].x - highest);
    total += weight * partial[i + HS4].y;
    sum += weight * partial[i + index % HS4];
  }
  o[index] = sum / total;
}
