// loss_sum: report[0] += SCALE * sum of the chunk's losses, in order
//
//   report (4) f32  read+write  [0]: the step's loss so far, nats a target token
//   losses (M) f32  read        of cross_entropy_backward
//   micro  (4) u32  read        [2]: the bits of SCALE, 1 / targets of the step
//
// dispatch: one thread.

struct Params { first: u32, M: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> report: array<f32>;
@group(0) @binding(2) var<storage, read> losses: array<f32>;
@group(0) @binding(3) var<storage, read> micro: array<u32>;

@compute @workgroup_size(1)
fn main() {
  var sum = 0.0;
  for (var i = 0u; i < params.M; i++) { sum += losses[i]; }
  report[0] += bitcast<f32>(micro[2]) * sum;
}
