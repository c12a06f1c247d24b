// A race in a kernel of TVM 0.27 that every model library carries: `tir_attention_merge_state`, which joins attention over earlier chunks of a prompt with that
// over its last one. All threads of a head read S, and each writes the new S with no barrier before it. Where they run in lockstep that goes well; where a
// subgroup is smaller than head size / 4 (4 threads on SwiftShader, 8 or 16 on some GPUs), later threads read the new S. Measured on the model of the site,
// 8 threads a head: logits of prompts of 130 tokens and more were off by up to 5.8.

const MERGE = /\bfn tir_attention_merge_state_kernel\b/;
/** S_ptr[...] = (log2(... */
const WRITE = /^([ \t]*)(S_ptr\[[^\n]*\] = \(?log2\()/gm;

/** The text of a module as it is compiled: the kernel above with a barrier before it writes S, every other one as it is. */
export function mended(code: string): string {
  if (!MERGE.test(code) || code.includes('storageBarrier')) return code;
  return code.replace(WRITE, '$1storageBarrier();\n$1$2');
}
