// Weight reader, GGUF's Q4_1: w = d q + m, blocks of 32 along a row. See _weights_f32 for what a reader is, storage.ts for who packs it.
//
//   weights  4 words a block: word j holds q (4 bits) of weights 8 j to 8 j + 7, the first four in the low halves of its bytes, the others in the high
//            ones; then, after the last block, its d and m (f16) in one word
//
// Blocks come in eights; the d begin at 4/5 of all words. d q is exact in f32, so that the sum is rounded once, fused or not.

@group(0) @binding(3) var<storage, read> weights: array<u32>;

fn scale(block: u32) -> vec2<f32> {
  return unpack2x16float(weights[arrayLength(&weights) / 5u * 4u + block]);
}
fn weight4(i: u32) -> vec4<f32> {
  let word = weights[i / 2u] >> (i % 2u * 4u);
  let s = scale(i / 8u);
  return s.x * vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) + s.y;
}
fn weight8(i: u32) -> mat2x4<f32> {
  let word = weights[i / 2u];
  let s = scale(i / 8u);
  return mat2x4<f32>(
    s.x * vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) + s.y,
    s.x * vec4<f32>(unpack4xU8((word >> 4u) & 0x0f0f0f0fu)) + s.y,
  );
}
