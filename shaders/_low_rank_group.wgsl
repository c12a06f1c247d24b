// The B halves of the low-rank parts of linears that share a dispatch, in the order of _low_rank: `Params` has a Site for each linear, of rank 0 where it has no
// part. Hu et al. 2021, "LoRA", arXiv:2106.09685, eq. 3; h = A x is made by lora_down beforehand.
//
//   h      (M, RANKS)  f32  read   of all sites
//   B      (any)       f32  read   the stretch of a buffer that holds the sites' B (N, rank)
//   scales (sites)     f32  read   scale times strength, written before a run

@group(0) @binding(8) var<storage, read> h: array<vec4<f32>>;
@group(0) @binding(9) var<storage, read> B: array<vec4<f32>>;
@group(0) @binding(10) var<storage, read> scales: array<f32>;

/** Four numbers of B from any place: where a rank is no multiple of 4, its rows begin inside a vec4, and what is read past a row's end meets h's 0. */
fn load_B(i: u32) -> vec4<f32> {
  let a = B[i / 4u];
  if (i % 4u == 0u) { return a; }
  let b = B[i / 4u + 1u];
  switch (i % 4u) {
    case 1u: { return vec4<f32>(a.yzw, b.x); }
    case 2u: { return vec4<f32>(a.zw, b.xy); }
    default: { return vec4<f32>(a.w, b.xyz); }
  }
}
/** The sum of four columns from 4 * column on of a linear's N, with its part. */
fn with_part(sum: vec4<f32>, site: Site, column: u32, N: u32, row: u32) -> vec4<f32> {
  var a0 = sum;
  let last = N - 1u;
  let n = column * 4u;
  for (var r = 0u; r < (site.rank + 3u) / 4u; r++) {
    let at = site.b + r * 4u;
    let rows = mat4x4<f32>(
      load_B(at + n * site.rank),
      load_B(at + min(n + 1u, last) * site.rank),
      load_B(at + min(n + 2u, last) * site.rank),
      load_B(at + min(n + 3u, last) * site.rank),
    );
    a0 += (scales[site.index] * transpose(rows)) * h[row * params.ranks4 + site.hidden4 + r];
  }
  return a0;
}
