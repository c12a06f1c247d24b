// Weight reader, f16 packed in pairs (IEEE 754 binary16, low half first): needs no `shader-f16`. See _weights_f32 for what a reader is.

@group(0) @binding(3) var<storage, read> weights: array<vec2<u32>>;

fn weight4(i: u32) -> vec4<f32> {
  let pairs = weights[i];
  return vec4<f32>(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
}
fn weight8(i: u32) -> mat2x4<f32> {
  return mat2x4<f32>(weight4(i), weight4(i + 1u));
}
