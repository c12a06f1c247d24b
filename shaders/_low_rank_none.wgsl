// A linear without a low-rank part: see _low_rank and _low_rank_backward.

fn low_rank_fours() -> u32 { return 0u; }
fn low_rank_hidden(row: u32, r: u32) -> vec4<f32> { return vec4<f32>(); }
fn low_rank_up(column: u32, r: u32) -> mat4x4<f32> { return mat4x4<f32>(); }
fn low_rank_A(rank: u32, column: u32, columns: u32) -> vec4<f32> { return vec4<f32>(); }
