// Weight reader, GGUF's Q4_0: w = d (q - 8), blocks of 32 along a row. See _weights_f32 for what a reader is, storage.ts for who packs it.
//
//   weights  4 words a block: word j holds q (4 bits) of weights 8 j to 8 j + 7, the first four in the low halves of its bytes, the others in the high
//            ones; then, after the last block, its d (f16) in half a word
//
// Blocks come in eights, so that the d begin at 8/9 of all words.

@group(0) @binding(3) var<storage, read> weights: array<u32>;

fn scale(block: u32) -> f32 {
  let pair = weights[arrayLength(&weights) / 9u * 8u + block / 2u];
  return unpack2x16float(pair >> (block % 2u * 16u)).x;
}
fn weight4(i: u32) -> vec4<f32> {
  let word = weights[i / 2u] >> (i % 2u * 4u);
  return scale(i / 8u) * (vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) - 8.0);
}
fn weight8(i: u32) -> mat2x4<f32> {
  let word = weights[i / 2u];
  let d = scale(i / 8u);
  return mat2x4<f32>(
    d * (vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) - 8.0),
    d * (vec4<f32>(unpack4xU8((word >> 4u) & 0x0f0f0f0fu)) - 8.0),
  );
}
