// copy_rows test
struct Params { first: u32, rows: u32, }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
override C: u32;
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) wg: vec3<u32>) {
  let row = wg.x + params.first;
  for (var c = 0u; c < C; c++) { y[row * C + c] = 2.0 * x[row * C + c]; }
}
