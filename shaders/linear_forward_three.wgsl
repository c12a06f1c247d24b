// linear_forward_three: linear_forward_few for three linears of one input, as q, k and v are: one dispatch for what were three.
//
//   y, y_1, y_2              (M, N), (M, N_1), (M, N_2)  f32    write
//   x                        (M, K)                      f32    read
//   weights and its copies   (N, K), (N_1, K), (N_2, K)  shard  read   through copies of one weight reader; N are multiples of 4
//   h, B, scales                                                       only with _low_rank_group: a part of each linear that has one
//
// dispatch: one thread owns four columns of one row of one y; x: ceil((N + N_1 + N_2) / 4 / WG), y: M.

struct Site { rank: u32, hidden4: u32, b: u32, index: u32 } // of a low-rank part: its first four of h, its place in B, that of its scale
struct Params { first: u32, N: u32, N_1: u32, N_2: u32, ranks4: u32, @align(16) sites: array<Site, 3> }
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
    y[row * n + column] = with_part(few_sum(column, params.N, row), params.sites[0], column, params.N, row);
  } else if (column < n + n_1) {
    let own = column - n;
    y_1[row * n_1 + own] = with_part(few_sum_1(own, params.N_1, row), params.sites[1], own, params.N_1, row);
  } else if (column < n + n_1 + n_2) {
    let own = column - n - n_1;
    y_2[row * n_2 + own] = with_part(few_sum_2(own, params.N_2, row), params.sites[2], own, params.N_2, row);
  }
}
