// Weight reader, MLC's q4f16_1: w = (u - 7) scale in f16, groups of 32 along a row. See _weights_f32 for what a reader is, storage.ts for who packs it.
//
//   weights  4 words a group: word j holds u (4 bits) of weights 8 j to 8 j + 7, the first four in the low halves of its bytes, the others in the high
//            ones; then, after the last group, its scale (f16) in half a word
//
// Groups come in eights, so that the scales begin at 8/9 of all words. MLC multiplies in f16, so the product is rounded to the 11 bits of an f16, ties to
// even: it is exact in f32, and as a multiple of 2^-24 it never needs a subnormal's rounding.

@group(0) @binding(3) var<storage, read> weights: array<u32>;

fn scale(group: u32) -> f32 {
  let pair = weights[arrayLength(&weights) / 9u * 8u + group / 2u];
  return unpack2x16float(pair >> (group % 2u * 16u)).x;
}
fn to_f16(w: vec4<f32>) -> vec4<f32> {
  let bits = bitcast<vec4<u32>>(w);
  return bitcast<vec4<f32>>((bits + 0xfffu + ((bits >> vec4<u32>(13u)) & vec4<u32>(1u))) & vec4<u32>(0xffffe000u));
}
fn weight4(i: u32) -> vec4<f32> {
  let word = weights[i / 2u] >> (i % 2u * 4u);
  return to_f16(scale(i / 8u) * (vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) - 7.0));
}
fn weight8(i: u32) -> mat2x4<f32> {
  let word = weights[i / 2u];
  let s = scale(i / 8u);
  return mat2x4<f32>(
    to_f16(s * (vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) - 7.0)),
    to_f16(s * (vec4<f32>(unpack4xU8((word >> 4u) & 0x0f0f0f0fu)) - 7.0)),
  );
}
