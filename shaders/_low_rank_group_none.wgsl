// Linears that share a dispatch and have no low-rank parts: see _low_rank_group.

fn with_part(sum: vec4<f32>, site: Site, column: u32, N: u32, row: u32) -> vec4<f32> { return sum; }
