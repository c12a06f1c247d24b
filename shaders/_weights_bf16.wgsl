// Weight reader, bfloat16 packed in pairs (the upper half of an f32, low half first). See _weights_f32 for what a reader is.

@group(0) @binding(3) var<storage, read> weights: array<vec2<u32>>;

fn weight4(i: u32) -> vec4<f32> {
  let pairs = weights[i];
  return bitcast<vec4<f32>>(vec4<u32>(pairs.x << 16u, pairs.x & 0xffff0000u, pairs.y << 16u, pairs.y & 0xffff0000u));
}
fn weight8(i: u32) -> mat2x4<f32> {
  return mat2x4<f32>(weight4(i), weight4(i + 1u));
}
