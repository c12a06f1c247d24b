// linear_forward_three: linear_forward_few for three linears of one input, as q, k and v are: one dispatch for what were three.
//
//   y, y_1, y_2              (M, N), (M, N_1), (M, N_2)  f32    write
//   x                        (M, K)                      f32    read
//   weights and its copies   (N, K), (N_1, K), (N_2, K)  shard  read   through copies of one weight reader; N are multiples of 4
//
// dispatch: one thread owns four columns of one row of one y; x: ceil((N + N_1 + N_2) / 4 / WG), y: M.

struct Params { first: u32, N: u32, N_1: u32, N_2: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> y_1: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> y_2: array<vec4<f32>>;

override WG: u32 = 32u;
override K: u32; // input features, a multiple of 4

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = (wg.x + params.first) * WG + local.x;
  let row = wg.y;
  let n = params.N / 4u;
  let n_1 = params.N_1 / 4u;
  let n_2 = params.N_2 / 4u;
  if (column < n) {
    y[row * n + column] = few_sum(column, params.N, row);
  } else if (column < n + n_1) {
    y_1[row * n_1 + column - n] = few_sum_1(column - n, params.N_1, row);
  } else if (column < n + n_1 + n_2) {
    y_2[row * n_2 + column - n - n_1] = few_sum_2(column - n - n_1, params.N_2, row);
  }
}
