import type { Batch } from '../engine/types.ts';
import { seededRandom } from '../lib/random.ts';
import type { Encoded } from '../text/types.ts';

/** How the rate moves over a run. */
export type Schedule = 'constant' | 'linear' | 'cosine';

/** The rows (0 to n - 1) of each step, in order: every pass shuffles all of them, its last step takes what is left. A pure function of its arguments. */
export function trainingOrder(n: number, epochs: number, batch: number, seed: number): readonly (readonly number[])[] {
  const random = seededRandom(seed);
  const rows = Array.from({ length: n }, (_, i) => i);
  const steps: (readonly number[])[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    const shuffled = random.shuffle(rows);
    for (let at = 0; at < n; at += batch) steps.push(shuffled.slice(at, at + batch));
  }
  return steps;
}

/** Share of the full rate at a step (from 0) of `steps`: rises evenly over the warm-up, whose first step is not 0, then stays, falls evenly, or falls as
 *  half a cosine (Loshchilov & Hutter 2016, arXiv:1608.03983) towards 0. `warmup` is a share of all steps. */
export function rateShare(schedule: Schedule, warmup: number, step: number, steps: number): number {
  const warm = Math.round(warmup * steps);
  if (step < warm) return (step + 1) / (warm + 1);
  const gone = (step - warm) / Math.max(1, steps - warm);
  if (schedule === 'linear') return 1 - gone;
  if (schedule === 'cosine') return 0.5 * (1 + Math.cos(Math.PI * gone));
  return 1;
}

/** The length that a line of `n` tokens is padded to: about four lengths an octave from 128 on, multiples of 32 below, so that a run needs few shapes of
 *  buffers and pads by 25 % at most; never over `context`. */
export function paddedLength(n: number, context: number): number {
  const grain = Math.max(32, 2 ** (Math.ceil(Math.log2(n)) - 3));
  return Math.min(context, Math.ceil(n / grain) * grain);
}

/** Rows as lines of tokens and targets: position t predicts token t + 1 where that one is trained. The last token of a row predicts nothing and is left
 *  out. `lines` rows at most; T is padded on the right with token 0. */
export function makeBatch(rows: readonly Encoded[], context: number): Batch {
  const T = paddedLength(Math.max(...rows.map((row) => row.tokens.length - 1)), context);
  const tokens = new Uint32Array(rows.length * T);
  const targets = new Int32Array(rows.length * T).fill(-1);
  rows.forEach((row, b) => {
    for (let t = 0; t + 1 < row.tokens.length; t++) {
      tokens[b * T + t] = row.tokens[t];
      if (row.mask[t + 1] === 1) targets[b * T + t] = row.tokens[t + 1];
    }
  });
  return { tokens, targets, shape: [rows.length, T] };
}

/** The micro-batches of one step, `microBatch` rows each: rows of like length together, the longest first, equal lengths in the order of the step. */
export function makeBatches(rows: readonly Encoded[], step: readonly number[], microBatch: number, context: number): Batch[] {
  const sorted = [...step].sort((a, b) => rows[b].tokens.length - rows[a].tokens.length || step.indexOf(a) - step.indexOf(b));
  const batches: Batch[] = [];
  for (let at = 0; at < sorted.length; at += microBatch) {
    batches.push(
      makeBatch(
        sorted.slice(at, at + microBatch).map((i) => rows[i]),
        context,
      ),
    );
  }
  return batches;
}

/** Tokens that a batch's loss is taken over. */
export function targetsOf(batches: readonly Batch[]): number {
  let count = 0;
  for (const { targets } of batches) for (const target of targets) if (target >= 0) count++;
  return count;
}
