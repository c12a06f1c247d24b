// linear_forward_swiglu: y = silu(x w^T) * (x w_1^T), the gate and up linears of an MLP with swiglu_forward between them, for one or two rows.
// Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202, eq. 6.
//
//   y                     (M, N)          f32    write
//   x                     (M, K)          f32    read
//   weights and its copy  (N, K), (N, K)  shard  read   gate and up, through copies of one weight reader; N is a multiple of 4
//   h, B, scales                                only with _low_rank_group: a part of each linear that has one
//
// dispatch: one thread owns four columns of one row; x: ceil(N / 4 / WG), y: M.

struct Site { rank: u32, hidden4: u32, b: u32, index: u32 } // of a low-rank part: see linear_forward_three
struct Params { first: u32, N: u32, ranks4: u32, @align(16) sites: array<Site, 2> }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

override WG: u32 = 32u;
override K: u32; // input features, a multiple of 4

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = (wg.x + params.first) * WG + local.x;
  if (column * 4u >= params.N) { return; }
  let gate = with_part(few_sum(column, params.N, wg.y), params.sites[0], column, params.N, wg.y);
  let up = with_part(few_sum_1(column, params.N, wg.y), params.sites[1], column, params.N, wg.y);
  y[wg.y * params.N / 4u + column] = gate / (1.0 + exp(-gate)) * up;
}
