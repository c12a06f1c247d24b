// Weight reader, GGUF's Q8_0: w = d q, blocks of 32 along a row. See _weights_f32 for what a reader is, storage.ts for who packs it.
//
//   weights  8 words a block: its 32 q (i8) in order; then, after the last block, its d (f16) in half a word
//
// Blocks come in eights, so that the d begin at 16/17 of all words.

@group(0) @binding(3) var<storage, read> weights: array<u32>;

fn scale(block: u32) -> f32 {
  let pair = weights[arrayLength(&weights) / 17u * 16u + block / 2u];
  return unpack2x16float(pair >> (block % 2u * 16u)).x;
}
fn weight4(i: u32) -> vec4<f32> {
  return scale(i / 8u) * vec4<f32>(unpack4xI8(weights[i]));
}
fn weight8(i: u32) -> mat2x4<f32> {
  let d = scale(i / 8u);
  return mat2x4<f32>(d * vec4<f32>(unpack4xI8(weights[i])), d * vec4<f32>(unpack4xI8(weights[i + 1u])));
}
