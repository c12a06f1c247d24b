// adamw_step: with c * g for the gradient, w -= lr * weightDecay * w; m = beta1 m + (1 - beta1) c g; v = beta2 v + (1 - beta2) (c g)^2;
// w -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps); then g = 0
// Loshchilov & Hutter 2017, "Decoupled Weight Decay Regularization", arXiv:1711.05101, algorithm 2, with torch.optim.AdamW's order.
//
//   w, m, v (N)   f32  read+write  every trained tensor of one buffer, and its moments
//   g       (N)   f32  read+write  gradients, cleared
//   report  (4)   f32  read        [2]: c, of clip_coefficient
//   options (12)  f32  read        lr * weightDecay, beta1, 1 - beta1, beta2, 1 - beta2, eps, lr / (1 - beta1^t), 1 - beta2^t, clipNorm; computed in
//                                  double precision, since 1 - 0.999 in f32 is off by 5e-5
// DECAY is 1 where weight decay applies to this buffer, else 0.
//
// dispatch: one thread for 4 numbers. N is a multiple of 4.

struct Params { first: u32, N: u32, DECAY: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> g: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> report: array<f32>;
@group(0) @binding(6) var<storage, read> options: array<f32>;

override WG: u32 = 64u; // threads per workgroup

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + params.first) * WG + lane;
  if (i >= params.N / 4u) { return; }
  let shrink = select(0.0, options[0], params.DECAY == 1u);
  let gradient = g[i] * report[2];
  let first = options[1] * m[i] + options[2] * gradient;
  let second = options[3] * v[i] + options[4] * gradient * gradient;
  let old = w[i];
  w[i] = (old - shrink * old) - options[6] * first / (sqrt(second / options[7]) + options[5]);
  m[i] = first;
  v[i] = second;
  g[i] = vec4<f32>();
}
