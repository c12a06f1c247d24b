// Weight reader, MLC's q4f32_1: w = (u - 7) scale, groups of 32 along a row. See _weights_f32 for what a reader is, storage.ts for who packs it.
//
//   weights  4 words a group: word j holds u (4 bits) of weights 8 j to 8 j + 7, the first four in the low halves of its bytes, the others in the high
//            ones; then, after the last group, its scale (f32) in one word
//
// Groups come in eights; the scales begin at 4/5 of all words. Files have them in bf16 or f32: as f32 both are exact.

@group(0) @binding(3) var<storage, read> weights: array<u32>;

fn scale(group: u32) -> f32 {
  return bitcast<f32>(weights[arrayLength(&weights) / 5u * 4u + group]);
}
fn weight4(i: u32) -> vec4<f32> {
  let word = weights[i / 2u] >> (i % 2u * 4u);
  return scale(i / 8u) * (vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) - 7.0);
}
fn weight8(i: u32) -> mat2x4<f32> {
  let word = weights[i / 2u];
  let s = scale(i / 8u);
  return mat2x4<f32>(
    s * (vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) - 7.0),
    s * (vec4<f32>(unpack4xU8((word >> 4u) & 0x0f0f0f0fu)) - 7.0),
  );
}
