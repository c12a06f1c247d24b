// One token out of a row of logits, on the CPU: temperature, then top-k, then top-p, in that order (as Hugging Face's generation does).
import type { Random } from '../lib/random.ts';
import type { Sampling } from './types.ts';

/** Logits this far (in units of the temperature) below the largest are left out of a first try: exp(-25) is 1e-11 of the largest. */
const FAR = 25;

/** `temperature` 0 takes the largest, the lowest id among equals. Top-p: Holtzman et al. 2019, arXiv:1904.09751; top-k: Fan et al. 2018, arXiv:1805.04833. */
export function sampleToken(logits: Float32Array, { temperature, topK, topP }: Sampling, random: Random): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  if (!(temperature > 0)) return best;
  const largest = logits[best];
  const weight = (id: number): number => Math.exp((logits[id] - largest) / temperature);
  const near: number[] = [];
  let rest = 0;
  for (let i = 0; i < logits.length; i++) {
    if (logits[i] >= largest - FAR * temperature) near.push(i);
    else rest += weight(i);
  }
  // Enough of them for top-k and top-p? Else all.
  const ids = (topK === 0 || near.length >= topK) && (topP >= 1 || rest < 1 - topP) ? near : Array.from(logits, (_, i) => i);
  ids.sort((a, b) => logits[b] - logits[a] || a - b);
  if (topK > 0) ids.length = Math.min(ids.length, topK);
  const weights = ids.map(weight);
  let total = weights.reduce((sum, w) => sum + w, 0);
  if (topP < 1) {
    // The smallest set whose share reaches topP; the largest always stays.
    const whole = topK > 0 ? total : total + (ids === near ? rest : 0);
    let kept = 0;
    let sum = 0;
    while (kept < ids.length && (kept === 0 || sum < topP * whole)) sum += weights[kept++];
    ids.length = kept;
    total = sum;
  }
  let left = random.next() * total;
  for (let i = 0; i < ids.length; i++) {
    left -= weights[i];
    if (left < 0) return ids[i];
  }
  return ids[ids.length - 1];
}
