import { type Random, seededRandom } from './random.ts';

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** The standard normal's 0.975 quantile: two-sided 95 %. */
const Z95 = 1.959963984540054;
const EXACT_FLIPS_UP_TO = 16; // 65 536 signs
const DRAWN_FLIPS = 100_000;

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return values.length === 0 ? Number.NaN : sum / values.length;
}

/** The q-quantile of ascending values, linear between neighbours (Hyndman & Fan 1996, type 7). */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return Number.NaN;
  const at = Math.min(Math.max(q, 0), 1) * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

export function median(values: ArrayLike<number>): number {
  return quantile(Float64Array.from(values).sort(), 0.5);
}

/** 95 % score interval of k successes in n. Wilson 1927, JASA 22, 209-212. Nothing is known of n = 0: 0 to 1. */
export function wilson(k: number, n: number): Interval {
  if (n === 0) return { low: 0, high: 1 };
  const p = k / n;
  const z2n = (Z95 * Z95) / n;
  const centre = (p + z2n / 2) / (1 + z2n);
  const half = (Z95 * Math.sqrt((p * (1 - p)) / n + z2n / (4 * n))) / (1 + z2n);
  return { low: k === 0 ? 0 : Math.max(0, centre - half), high: k === n ? 1 : Math.min(1, centre + half) };
}

/** 95 % percentile interval of the mean. Efron 1979, Annals of Statistics 7, 1-26. The same seed gives the same interval. */
export function bootstrapInterval(values: ArrayLike<number>, seed: number, draws = 10_000): Interval {
  const n = values.length;
  if (n === 0) return { low: Number.NaN, high: Number.NaN };
  const random = seededRandom(seed);
  const means = new Float64Array(draws);
  for (let d = 0; d < draws; d++) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += values[random.below(n)];
    means[d] = sum / n;
  }
  means.sort();
  return { low: quantile(means, 0.025), high: quantile(means, 0.975) };
}

/** Two-sided exact sign test on wins and losses, ties left out: McNemar's exact test for paired right and wrong answers. */
export function signTest(wins: number, losses: number): number {
  const n = wins + losses;
  const fewer = Math.min(wins, losses);
  // Terms of the binomial(n, 1/2), by logarithms so that large n does not underflow.
  let logTerm = -n * Math.LN2;
  let tail = 0;
  for (let k = 0; k <= fewer; k++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log((n - k) / (k + 1));
  }
  return Math.min(1, 2 * tail);
}

/** Two-sided sign-flip (permutation) test that paired differences are centred at 0. Fisher 1935; Dwass 1957. All sign vectors up to 16 differences
 *  that are not 0, above that 100 000 seeded ones, counted with the observed one (Phipson & Smyth 2010), so that p is never 0. */
export function signFlipTest(differences: ArrayLike<number>, seed: number, draws = DRAWN_FLIPS): number {
  const d = Array.from(differences).filter((value) => value !== 0);
  const n = d.length;
  if (n === 0) return 1;
  const observed = Math.abs(d.reduce((sum, value) => sum + value, 0));
  // Sums of the same numbers in another order differ in their last bits; those count as equal.
  const atLeast = observed - 1e-12 * d.reduce((sum, value) => sum + Math.abs(value), 0);
  if (n <= EXACT_FLIPS_UP_TO) {
    let extreme = 0;
    for (let signs = 0; signs < 1 << n; signs++) {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += (signs >> i) & 1 ? -d[i] : d[i];
      if (Math.abs(sum) >= atLeast) extreme++;
    }
    return extreme / (1 << n);
  }
  const random = seededRandom(seed);
  let extreme = 0;
  for (let draw = 0; draw < draws; draw++) if (Math.abs(flippedSum(d, random)) >= atLeast) extreme++;
  return (extreme + 1) / (draws + 1);
}

function flippedSum(d: readonly number[], random: Random): number {
  let sum = 0;
  let bits = 0;
  for (let i = 0; i < d.length; i++) {
    if (i % 30 === 0) bits = random.below(1 << 30);
    sum += bits & 1 ? -d[i] : d[i];
    bits >>= 1;
  }
  return sum;
}

/** p-values corrected for being looked at together, in the order given. Holm 1979, Scandinavian Journal of Statistics 6, 65-70. */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((_, i) => i).sort((a, b) => pValues[a] - pValues[b]);
  const out = new Array<number>(pValues.length);
  let largest = 0;
  order.forEach((i, rank) => {
    largest = Math.max(largest, Math.min(1, pValues[i] * (pValues.length - rank)));
    out[i] = largest;
  });
  return out;
}

/** Rows `from` to `to` of a sorted list, both included, that the test cannot tell apart, drawn in `lane` (0 is the first). */
export interface Bracket {
  readonly from: number;
  readonly to: number;
  readonly lane: number;
}

/**
 * Every maximal run of neighbours in which each pair has p >= .05, and for each run the first lane that is free.
 * `sorted` is in the order shown; `pairP` gives the uncorrected p of two of its items.
 */
export function brackets<Id>(sorted: readonly Id[], pairP: (a: Id, b: Id) => number): Bracket[] {
  const runs: Bracket[] = [];
  const laneEnds: number[] = [];
  let end = 0; // the furthest row that a run beginning at `from` reaches; it never falls while `from` rises
  let covered = -1;
  for (let from = 0; from < sorted.length; from++) {
    end = Math.max(end, from);
    while (end + 1 < sorted.length && fits(sorted, from, end + 1, pairP)) end++;
    if (end > from && end > covered) {
      let lane = laneEnds.findIndex((last) => last < from);
      if (lane < 0) lane = laneEnds.length;
      laneEnds[lane] = end;
      runs.push({ from, to: end, lane });
      covered = end;
    }
  }
  return runs;
}

function fits<Id>(sorted: readonly Id[], from: number, to: number, pairP: (a: Id, b: Id) => number): boolean {
  for (let i = from; i < to; i++) if (pairP(sorted[i], sorted[to]) < 0.05) return false;
  return true;
}

/** p as people read it: ".012", "< .001", "1.00"; two digits from .10 up, three below, more where rounding would carry it over .05. */
export function formatP(p: number): string {
  if (Number.isNaN(p)) return '–';
  if (p < 0.001) return '< .001';
  let digits = p < 0.0995 ? 3 : 2;
  while (p < 0.05 && Number(p.toFixed(digits)) >= 0.05 && digits < 17) digits++;
  const text = p.toFixed(digits);
  return text.startsWith('0') ? text.slice(1) : text;
}
