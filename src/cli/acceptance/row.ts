import { bootstrapInterval, type Interval, mean, wilson } from '../../lib/stats.ts';
import type { Count } from './bench.ts';

export type Verdict = 'PASS' | 'FAIL' | 'SKIP';
/** One line of the table. Shares are 0 to 1. */
export interface Row {
  readonly row: string;
  readonly what: string;
  readonly measured: number | undefined;
  readonly threshold: string;
  readonly verdict: Verdict;
  readonly n: number;
  readonly interval: Interval | undefined;
  readonly note: string;
}

/** A share that should be at least (or at most) so much. It fails where its whole 95 % interval is on the wrong side. */
export function share(
  row: string,
  what: string,
  { right, n }: Count,
  threshold: number,
  side: 'at least' | 'at most' = 'at least',
  note = '',
): Row {
  const interval = wilson(right, n);
  const failed = side === 'at least' ? interval.high < threshold : interval.low > threshold;
  return {
    ...{ row, what, n, interval, note, measured: right / n },
    threshold: `${side === 'at least' ? '>=' : '<='} ${(100 * threshold).toFixed(0)} %`,
    verdict: failed ? 'FAIL' : 'PASS',
  };
}

/** A difference of two shares, with Newcombe's interval (1998, Statistics in Medicine 17, 873-890, method 10). */
export function difference(row: string, what: string, a: Count, b: Count, threshold: number, note = ''): Row {
  const [p, q] = [a.right / a.n, b.right / b.n];
  const [first, second] = [wilson(a.right, a.n), wilson(b.right, b.n)];
  const interval = {
    low: p - q - Math.hypot(p - first.low, second.high - q),
    high: p - q + Math.hypot(first.high - p, q - second.low),
  };
  return {
    ...{ row, what, interval, measured: p - q, n: a.n },
    threshold: `>= ${(100 * threshold).toFixed(0)} points`,
    verdict: interval.high < threshold ? 'FAIL' : 'PASS',
    note: `${percent(p)} against ${percent(q)}${note === '' ? '' : `; ${note}`}`,
  };
}
/** A mean of numbers of 0 to 1 (or of -1 to 1), with its bootstrap interval. It fails where the whole interval is on the wrong side. */
export function average(
  row: string,
  what: string,
  values: readonly number[],
  threshold: { readonly side: 'at least' | 'at most'; readonly value: number; readonly text: string },
  seed: number,
  note = '',
): Row {
  const interval = bootstrapInterval(values, seed);
  const failed = threshold.side === 'at least' ? interval.high < threshold.value : interval.low > threshold.value;
  return {
    ...{ row, what, interval, note, measured: mean(values), n: values.length, threshold: threshold.text },
    verdict: failed ? 'FAIL' : 'PASS',
  };
}
/** A share that is told and asks for nothing. */
export const reported = (row: string, what: string, { right, n }: Count): Row => ({
  ...{ row, what, n, measured: right / n, interval: wilson(right, n), threshold: 'reported', verdict: 'PASS', note: '' },
});
export const skipped = (row: string, what: string, note: string): Row => ({
  ...{ row, what, note, measured: undefined, threshold: '', verdict: 'SKIP', n: 0, interval: undefined },
});
/** Yes or no. */
export const fact = (row: string, what: string, holds: boolean, threshold: string, note: string, n = 1): Row => ({
  ...{ row, what, threshold, note, n, measured: undefined, interval: undefined, verdict: holds ? 'PASS' : 'FAIL' },
});

export const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
export function formatRow({ row, what, measured, threshold, verdict, n, interval, note }: Row): string {
  const number = measured === undefined ? '' : (100 * measured).toFixed(1);
  const spread = interval === undefined ? '' : `[${(100 * interval.low).toFixed(1)}, ${(100 * interval.high).toFixed(1)}]`;
  return [row.padEnd(4), what.padEnd(46), number.padStart(6), threshold.padEnd(13), verdict, `n ${n}`.padStart(6), spread.padEnd(15), note]
    .join('  ')
    .trimEnd();
}
