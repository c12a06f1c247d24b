// Inverted dropout from a counter-based generator: the same bits as dropoutKeep in reference.ts, whatever order threads run in.
// Srivastava et al. 2014, JMLR 15; PCG's output function: Jarzynski & Olano 2020, JCGT 9(3), "Hash Functions for GPU Rendering".
//
//   micro (4) u32  read  seed, micro-batches since the start of the fit, and two numbers that are not for here

@group(0) @binding(4) var<storage, read> micro: array<u32>;

fn pcg(v: u32) -> u32 {
  let s = v * 747796405u + 2891336453u;
  let w = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
  return (w >> 22u) ^ w;
}
/** What all numbers of one site in one micro-batch have in common. */
fn dropout_stream(place: u32) -> u32 { return pcg(micro[1] ^ pcg(place ^ pcg(micro[0]))); }
/** Multipliers of the four numbers from `index` on, index = row * K + column of the linear's input. */
fn keep4(stream: u32, index: u32) -> vec4<f32> {
  let words = vec4<u32>(pcg(index ^ stream), pcg((index + 1u) ^ stream), pcg((index + 2u) ^ stream), pcg((index + 3u) ^ stream));
  return select(vec4<f32>(), vec4<f32>(params.KEEP), words >= vec4<u32>(params.THRESHOLD));
}
