// gather_rows: y[i, c] = x[index[i], c], and a row of zeros where index[i] is 0xffffffff
//
//   y     (rows, C) f32  write
//   x     (M, C)    f32  read
//   index (rows)    u32  read
//
// dispatch: one thread owns four channels of one row; x: ceil(rows * C / 4 / 64).

struct Params { first: u32, rows: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> index: array<u32>;

override C: u32; // channels, a multiple of 4

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let i = (wg.x + params.first) * 64u + local.x;
  let row = i / (C / 4u);
  if (row >= params.rows) { return; }
  let wanted = index[row];
  y[i] = vec4<f32>();
  if (wanted != 0xffffffffu) { y[i] = x[wanted * (C / 4u) + i % (C / 4u)]; }
}
