// Weight reader, f32: a matrix of rows of a multiple of 4 numbers, four at a time. `i` counts fours from the matrix's start, row after row.
// Every reader declares binding 3, weight4 and weight8, two fours in a row; blocks of 32 are read from an even four on. A storage type is one file.

@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;

fn weight4(i: u32) -> vec4<f32> {
  return weights[i];
}
fn weight8(i: u32) -> mat2x4<f32> {
  return mat2x4<f32>(weights[i], weights[i + 1u]);
}
