// What one row has in four columns of a linear: sum_k x[row, k] * w[4 column + 0 to 3, k], in the order of linear_forward. N is w's number of rows; past the
// edge the last one is read again. A kernel with several linears of one input has a copy of this and of its weight reader for each.

fn few_sum(column: u32, N: u32, row: u32) -> vec4<f32> {
  let K4 = K / 4u;
  let w0 = column * 4u * K4;
  let w1 = min(column * 4u + 1u, N - 1u) * K4;
  let w2 = min(column * 4u + 2u, N - 1u) * K4;
  let w3 = min(column * 4u + 3u, N - 1u) * K4;
  let x0 = row * K4;
  var a0 = vec4<f32>();
  for (var k = 0u; k + 1u < K4; k += 2u) {
    let p0 = weight8(w0 + k);
    let p1 = weight8(w1 + k);
    let p2 = weight8(w2 + k);
    let p3 = weight8(w3 + k);
    a0 += transpose(mat4x4<f32>(p0[0], p1[0], p2[0], p3[0])) * x[x0 + k];
    a0 += transpose(mat4x4<f32>(p0[1], p1[1], p2[1], p3[1])) * x[x0 + k + 1u];
  }
  if (K4 % 2u == 1u) {
    let k = K4 - 1u;
    a0 += transpose(mat4x4<f32>(weight4(w0 + k), weight4(w1 + k), weight4(w2 + k), weight4(w3 + k))) * x[x0 + k];
  }
  return a0;
}
