// webllm_lora_up: y[t, n] += strength * scale_b * sum_r h[t, first_b + r] * B_b[n - begin_b, r], b the row block that n lies in
// Hu et al. 2021, "LoRA", arXiv:2106.09685, eq. 3: the second half, added to the product in the buffer that web-llm's own kernel wrote it to.
//
//   y (T, N)      f32  read and write
//   h (T, RANKS)  f32  read   of webllm_lora_down
//   B (any)       f32  read   (end - begin, rank) of each block, one after the other
//
// A fused linear has up to three blocks: q, k and v, or gate and up; a block without factors is not listed.
// dispatch: (ceil(N / WG), T) workgroups; one thread owns one number of y. No barriers.

override WG: u32 = 64u; // threads a workgroup

struct Block {
  begin: u32, // rows of the fused weight
  end: u32,
  first: u32, // of its columns in h
  rank: u32,
  b: u32, // where its B begins
  scale: f32, // alpha / r or alpha / sqrt r
}
struct Params {
  RANKS: u32,
  N: u32,
  blocks: u32,
  strength: f32,
  block: array<Block, 3>,
}

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read> B: array<f32>;
@group(0) @binding(3) var<storage, read> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let n = group.x * WG + thread;
  if (n >= params.N) { return; }
  for (var i = 0u; i < params.blocks; i++) {
    let block = params.block[i];
    if (n < block.begin || n >= block.end) { continue; }
    let start = group.y * params.RANKS + block.first;
    let row = block.b + (n - block.begin) * block.rank;
    var sum = 0.0;
    for (var r = 0u; r < block.rank; r++) { sum = fma(h[start + r], B[row + r], sum); }
    y[group.y * params.N + n] += params.strength * block.scale * sum;
  }
}
