// What is mended in kernels of TVM as they are compiled; libraries stay as they were built.

interface Mend {
  /** The kernel, and a text that it holds where it needs no mending. */
  readonly kernel: RegExp;
  readonly has: string;
  readonly at: RegExp;
  readonly put: string;
}
/** A race in a kernel of TVM 0.27 that every model library carries: `tir_attention_merge_state`, which joins attention over earlier chunks of a prompt with that
 *  over its last one. All threads of a head read S, and each writes the new S with no barrier before it. Where they run in lockstep that goes well; where a
 *  subgroup is smaller than head size / 4 (4 threads on SwiftShader, 8 or 16 on some GPUs), later threads read the new S. Measured on the model of the site,
 *  8 threads a head: logits of prompts of 130 tokens and more were off by up to 5.8. */
const BARRIER: Mend = {
  kernel: /\bfn tir_attention_merge_state_kernel\b/,
  has: 'storageBarrier',
  // S_ptr[...] = (log2(...
  at: /^([ \t]*)(S_ptr\[[^\n]*\] = \(?log2\()/gm,
  put: '$1storageBarrier();\n$1$2',
};
const MENDS: readonly Mend[] = [BARRIER];

/** The rules themselves, as a text: what was found out with others holds no longer. */
export const mendRules: string = MENDS.map(({ kernel, has, at, put }) => [kernel, has, at, put].join(' ')).join('\n');

/** The text of a module as it is compiled: a kernel above mended, every other one as it is. */
export function mended(code: string): string {
  return MENDS.reduce((text, { kernel, has, at, put }) => (kernel.test(text) && !text.includes(has) ? text.replace(at, put) : text), code);
}
