// embed_backward: dTable[ids[u]] += sum of dy[order[i]] for i in starts[u] .. starts[u + 1] - 1, in that order
// The host sorts positions by token, so each row of the table that occurs is summed by one thread a column, in a fixed order, without atomics.
//
//   dTable (V, C)  f32  read+write
//   dy     (M, C)  f32  read        gradient of the embedded tokens
//   order  (M)     u32  read        positions, those of one token together and rising
//   starts (M + 1) u32  read        where each token's positions begin; after the last token, M
//   ids    (M)     u32  read        the token of each run; 0xffffffff where there are fewer than M
//   Rows of dTable before ROW and from ROW + ROWS on are another shard's.
//
// dispatch: one thread for 4 columns of one run; C is a multiple of 4.

override WG: u32 = 32u; // threads per workgroup
override C: u32;        // channels

struct Params { first: u32, M: u32, ROW: u32, ROWS: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dTable: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read> starts: array<u32>;
@group(0) @binding(5) var<storage, read> ids: array<u32>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + params.first) * WG + lane;
  let C4 = C / 4u;
  let run = i / C4;
  if (run >= params.M) { return; }
  let id = ids[run];
  if (id == 0xffffffffu || id < params.ROW || id >= params.ROW + params.ROWS) { return; }
  let c = i % C4;
  var sum = vec4<f32>();
  for (var k = starts[run]; k < starts[run + 1u]; k++) { sum += dy[order[k] * C4 + c]; }
  dTable[(id - params.ROW) * C4 + c] += sum;
}
