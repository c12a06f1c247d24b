// decode_advance: the token that each row has just got becomes its next input, one position further on, so that several steps of greedy decoding follow one
// another on the GPU without the host.
//
//   tokens  (R)          u32  write       the next step's input
//   rows    (R, 2)       u32  read+write  position of each row's token; its slot in the cache
//   history (1 + S * R)  u32  read+write  steps done so far; then the tokens of each step
//   token   (R)          u32  read        of argmax_merge
//
// dispatch: one thread; R is the few rows that are decoded side by side.

struct Params { first: u32, rows: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(2) var<storage, read_write> rows: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> history: array<u32>;
@group(0) @binding(4) var<storage, read> token: array<u32>;

@compute @workgroup_size(1)
fn main() {
  let done = history[0];
  for (var i = 0u; i < params.rows; i++) {
    tokens[i] = token[i];
    rows[i].x += 1u;
    history[1u + done * params.rows + i] = token[i];
  }
  history[0] = done + 1u;
}
