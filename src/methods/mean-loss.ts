import type { Engine, Patch } from '../engine/types.ts';
import type { Encoded } from '../text/types.ts';
import { paddedLength } from './batches.ts';

/** Nats a trained token over rows, without dropout; `lines` rows at a time, rows of like length together. */
export async function meanLoss(engine: Engine, patch: Patch, rows: readonly Encoded[], lines: number): Promise<number> {
  const { context } = engine.config;
  let sum = 0;
  let count = 0;
  const sorted = [...rows].sort((a, b) => b.tokens.length - a.tokens.length);
  for (let at = 0; at < sorted.length; at += lines) {
    const together = sorted.slice(at, at + lines);
    const T = paddedLength(together[0].tokens.length, context);
    const tokens = new Uint32Array(together.length * T);
    together.forEach((row, b) => {
      tokens.set(row.tokens, b * T);
    });
    const logProbabilities = await engine.score(tokens, [together.length, T], patch);
    together.forEach((row, b) => {
      row.mask.forEach((trained, t) => {
        if (trained !== 1) return;
        sum -= logProbabilities[b * T + t];
        count++;
      });
    });
  }
  return sum / count;
}
