// clip_coefficient: report[1] = norm = sqrt(sum of partials), report[2] = min(1, clipNorm / (norm + 1e-6)), or 1 where clipNorm is 0
// Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", arXiv:1211.5063, algorithm 1; as torch.nn.utils.clip_grad_norm_.
//
//   report  (4)  f32  write
//   partials (N)  f32  read   of sum_of_squares over all buffers
//   options (12) f32  read   [8]: clipNorm
//
// dispatch: one thread. N is a multiple of 4.

struct Params { first: u32, N: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> report: array<f32>;
@group(0) @binding(2) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> options: array<f32>;

@compute @workgroup_size(1)
fn main() {
  var sum = vec4<f32>();
  for (var i = 0u; i < params.N / 4u; i++) { sum += partials[i]; }
  let norm = sqrt((sum.x + sum.y) + (sum.z + sum.w));
  report[1] = norm;
  report[2] = select(1.0, min(1.0, options[8] / (norm + 1e-6)), options[8] > 0.0);
}
