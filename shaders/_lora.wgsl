// What the LoRA kernels of training share: up to three sites whose linears read the same x, handled by one dispatch.
// Hu et al. 2021, "LoRA", arXiv:2106.09685, eq. 3: y = W x + scale B (A dropped(x)), h = A dropped(x).

struct Site {
  rank: u32,   // R of this site
  hidden: u32, // its first column in h and dh: a multiple of 4; the columns after its last one, up to the next multiple of 4, hold 0
  a: u32,      // place of A (R, K) in its buffer, in numbers: a multiple of 4
  b: u32,      // place of B (N, R) in its buffer, in numbers: a multiple of 4
  N: u32,      // its linear's output features
  column: u32, // its first column in dy: a multiple of 4
  scale: f32,
  place: u32,  // layer * 7 + the linear's place in [q, k, v, o, gate, up, down]: what dropout tells sites apart by
}
struct Params {
  first: u32,
  M: u32,         // rows of tokens
  K: u32,         // input features
  STRIDE: u32,    // columns of dy
  RANKS: u32,     // columns of h and dh
  COUNT: u32,     // sites
  THRESHOLD: u32, // random words below this are dropped
  KEEP: f32,      // what is kept is multiplied by this
  sites: array<Site, 3>,
}
@group(0) @binding(0) var<uniform> params: Params;

override WG: u32 = 32u; // threads per workgroup

/** Columns of h that a site has, with its filling. */
fn width(site: u32) -> u32 { return (params.sites[site].rank + 3u) / 4u * 4u; }

/** The site that a column of h belongs to. */
fn site_of(column: u32) -> u32 {
  var site = 0u;
  while (site + 1u < params.COUNT && column >= params.sites[site].hidden + width(site)) { site++; }
  return site;
}
