// Weight reader, f32: a matrix of rows of a multiple of 4 numbers, four at a time. `i` counts fours from the matrix's start, row after row, so that a
// storage type of blocks of 32 finds its block by i / 8. Every reader declares binding 3 and weight4: a storage type is one file.

@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;

fn weight4(i: u32) -> vec4<f32> {
  return weights[i];
}
