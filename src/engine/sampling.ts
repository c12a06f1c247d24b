// How a token is drawn, in plain TypeScript: the rule that the kernel sample_token follows, and the numbers that the two share.
import type { Sampling } from './types.ts';

/** A 32-bit word of a 32-bit word. PCG's output function: Jarzynski & Olano 2020, JCGT 9(3), "Hash Functions for GPU Rendering". */
function pcg(v: number): number {
  const s = (Math.imul(v, 747796405) + 2891336453) >>> 0;
  const w = Math.imul((s >>> ((s >>> 28) + 4)) ^ s, 277803737) >>> 0;
  return ((w >>> 22) ^ w) >>> 0;
}

/** The Exp(1) number of token `id`, the `drawn`-th that a row of this seed draws. */
function exponential(seed: number, drawn: number, id: number): number {
  const word = pcg(id ^ pcg(drawn ^ pcg(seed)));
  return -Math.log1p(-Math.min((word + 0.5) / 2 ** 32, 1 - 2 ** -24));
}

/** Temperature, then top-k, then top-p (as Hugging Face's generation does); `temperature` 0 takes the largest, the lowest id among equals. `seed` is the
 *  row's own, `drawn` the tokens that it drew before: the same three give the same token, wherever and beside whatever it is drawn.
 *  Top-p: Holtzman et al. 2019, arXiv:1904.09751; top-k: Fan et al. 2018, arXiv:1805.04833. */
export function sampleToken(
  logits: Float32Array,
  { temperature, topK, topP }: Pick<Sampling, 'temperature' | 'topK' | 'topP'>,
  seed: number,
  drawn: number,
): number {
  const largest = logits.reduce((most, logit) => Math.max(most, logit), Number.NEGATIVE_INFINITY);
  if (!(temperature > 0)) return logits.indexOf(largest);
  // In f32, as on the GPU: equal distances are equals.
  const distance = Float32Array.from(logits, (logit) => largest - logit);
  const weight = (id: number): number => Math.exp(-distance[id] / temperature);
  const ids = Array.from(logits.keys()).sort((a, b) => distance[a] - distance[b] || a - b);
  if (topK > 0) ids.length = Math.min(ids.length, topK);
  if (topP < 1) {
    const whole = ids.reduce((sum, id) => sum + weight(id), 0);
    // The smallest set whose share reaches topP; the largest always stays.
    let kept = 0;
    let sum = 0;
    while (kept < ids.length && (kept === 0 || sum < topP * whole)) sum += weight(ids[kept++]);
    ids.length = kept;
  }
  // A race: each wins with its share of the weight. Efraimidis & Spirakis 2006, IPL 97(5).
  let first = ids[0];
  let best = Number.POSITIVE_INFINITY;
  for (const id of ids) {
    const lot = Math.log(exponential(seed, drawn, id)) + distance[id] / temperature;
    if (lot < best) {
      best = lot;
      first = id;
    }
  }
  return first;
}
