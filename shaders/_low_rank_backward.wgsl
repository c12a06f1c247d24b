// The A half of a linear's low-rank part on the way back: dx[m, k] += dropped(sum_r dh[m, hidden + r] * A[r, k]), summed before the linear's own.
// Hu et al. 2021, "LoRA", arXiv:2106.09685, eq. 3; dh is made by lora_backward_hidden beforehand.
//
//   dh (M, RANKS)  f32  read   this site's columns begin at `hidden`; those after its last one, up to the next multiple of 4, hold 0
//   A  (rank, K)   f32  read

@group(0) @binding(5) var<storage, read> dh: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> A: array<vec4<f32>>;

fn low_rank_fours() -> u32 { return (params.rank + 3u) / 4u; }
fn low_rank_hidden(row: u32, r: u32) -> vec4<f32> { return dh[row * params.ranks4 + params.hidden4 + r]; }
/** Past the last rank its row is read again, times dh's 0. */
fn low_rank_A(rank: u32, column: u32, columns: u32) -> vec4<f32> { return A[min(rank, params.rank - 1u) * columns + column]; }
