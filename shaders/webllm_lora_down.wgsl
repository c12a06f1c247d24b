// webllm_lora_down: h[t, r] = sum_k x[t, k] * A[r, k]
// Hu et al. 2021, "LoRA", arXiv:2106.09685, eq. 3: the first half of what is appended to a linear that web-llm's own kernel computed.
//
//   h (T, RANKS)  f32  write  scratch: read by webllm_lora_up right after
//   x (T, K)      f32  read   the buffer that the linear's kernel reads, as its text says
//   A (RANKS, K)  f32  read   of all row blocks of a fused linear, one after the other
//
// dispatch: (ceil(RANKS * LANES / WG), T) workgroups; LANES threads share a sum. A row's number is the group's, so that no buffer has to tell T.

override WG: u32 = 64u;    // threads a workgroup
override LANES: u32 = 64u; // threads a sum, a power of two and a divisor of WG; 1 on a software GPU, which pays for barriers
override K: u32;           // input features

struct Params { RANKS: u32 } // the first number of webllm_lora_up's

@group(0) @binding(0) var<storage, read_write> h: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> A: array<f32>;
@group(0) @binding(3) var<storage, read> params: Params;

var<workgroup> partial: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let rank = group.x * (WG / LANES) + thread / LANES;
  let lane = thread % LANES;
  let real = rank < params.RANKS;
  var sum = 0.0;
  if (real) {
    let start = group.y * K;
    let row = rank * K;
    for (var k = lane; k < K; k += LANES) { sum = fma(x[start + k], A[row + k], sum); }
  }
  if (LANES > 1u) {
    partial[thread] = sum;
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
      workgroupBarrier();
      if (lane < reach) { partial[thread] += partial[thread + reach]; }
    }
    sum = partial[thread];
  }
  if (real && lane == 0u) { h[group.y * params.RANKS + rank] = sum; }
}
