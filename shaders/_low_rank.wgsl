// The B half of a linear's low-rank part, summed after the linear's own: y[m, n] += scales[index] * sum_r h[m, hidden + r] * B[n, r]
// Hu et al. 2021, "LoRA", arXiv:2106.09685, eq. 3; h = A x is made by lora_down beforehand.
//
//   h      (M, RANKS)    f32  read   this site's columns begin at `hidden`; those after its last one, up to the next multiple of 4, hold 0
//   B      (N, rank)     f32  read
//   scales (sites)       f32  read   scale times strength, written before a run

@group(0) @binding(5) var<storage, read> h: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> B: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> scales: array<f32>;

fn low_rank_fours() -> u32 { return (params.rank + 3u) / 4u; }
fn low_rank_hidden(row: u32, r: u32) -> vec4<f32> { return h[row * params.ranks4 + params.hidden4 + r]; }
/** B[n, 4 r] to B[n, 4 r + 3]: where the rank is no multiple of 4, rows begin inside a vec4, and what is read past a row's end meets h's 0. */
fn low_rank_row(n: u32, r: u32) -> vec4<f32> {
  let i = n * params.rank + r * 4u;
  let a = B[i / 4u];
  if (i % 4u == 0u) { return a; }
  let b = B[i / 4u + 1u];
  switch (i % 4u) {
    case 1u: { return vec4<f32>(a.yzw, b.x); }
    case 2u: { return vec4<f32>(a.zw, b.xy); }
    default: { return vec4<f32>(a.w, b.xyz); }
  }
}
/** What h's four numbers are multiplied by for the four columns of y from 4 * column on, counted from the shard's first. */
fn low_rank_up(column: u32, r: u32) -> mat4x4<f32> {
  let n = column * 4u;
  let last = params.N - 1u;
  let base = params.column4 * 4u;
  let rows = mat4x4<f32>(
    low_rank_row(base + n, r),
    low_rank_row(base + min(n + 1u, last), r),
    low_rank_row(base + min(n + 2u, last), r),
    low_rank_row(base + min(n + 3u, last), r),
  );
  return scales[params.index] * transpose(rows);
}
