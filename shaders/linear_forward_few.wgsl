// linear_forward_few: linear_forward for one or two rows, as decoding has them: one row x 4 columns a thread (_few_sum), no arithmetic on rows that are not
// there.
// Bindings and the order of each sum are those of linear_forward, so that a row's numbers do not depend on how many rows there are.
//
// dispatch: x: ceil(N / 4 / WG), y: M.

struct Params { first: u32, rows: u32, N: u32, stride4: u32, column4: u32, tall: u32, ranks4: u32, hidden4: u32, rank: u32, index: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

override WG: u32 = 32u;
override K: u32; // input features, a multiple of 4

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let N = params.N;
  let column = (wg.x + params.first) * WG + local.x;
  if (column * 4u >= N) { return; }
  var a0 = few_sum(column, N, wg.y);
  for (var r = 0u; r < low_rank_fours(); r++) { a0 += low_rank_up(column, r) * low_rank_hidden(wg.y, r); }
  let y0 = wg.y * params.stride4 + params.column4 + column;
  y[y0] = start(y0) + a0;
}
