import type { Paired } from '../experiments/types.ts';

/** Two-sided 5 %, found four times in five: quantiles of the normal distribution. */
const Z_ALPHA = 1.959964;
const Z_POWER = 0.841621;

/**
 * How many rows in all would tell two contestants apart with a sign test (two-sided 5 %, power 80 %), if they go on winning and losing as they do now.
 * Connor 1987, "Sample size for testing differences in proportions for the paired-sample design", Biometrics 43: its unconditional form. `n` rows were compared.
 * Undefined where they won equally often: then no number of rows would.
 */
export function rowsToSeparate({ wins, losses }: Pick<Paired, 'wins' | 'losses'>, n: number): number | undefined {
  if (n <= 0 || wins === losses) return undefined;
  const discordant = (wins + losses) / n;
  const difference = Math.abs(wins - losses) / n;
  const root = Z_ALPHA * Math.sqrt(discordant) + Z_POWER * Math.sqrt(Math.max(0, discordant - difference ** 2));
  return Math.ceil((root / difference) ** 2);
}
