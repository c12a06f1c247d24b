// embed_forward: x[m, c] = w[token[m], c]
//
//   x       (M, K) f32    write   the residual stream's first value; rows whose token is in another shard are left alone
//   tokens  (M)    u32    read
//   weights (N, K) shard  read    rows row0 to row0 + N - 1 of the embedding
//
// dispatch: one thread owns four channels of one token; x: ceil(M * K / 4 / 64).

struct Params { first: u32, rows: u32, N: u32, row0: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;

override K: u32; // channels

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let i = (wg.x + params.first) * 64u + local.x;
  let m = i / (K / 4u);
  if (m >= params.rows) { return; }
  let token = tokens[m];
  if (token < params.row0 || token >= params.row0 + params.N) { return; }
  x[i] = weight4((token - params.row0) * (K / 4u) + i % (K / 4u));
}
