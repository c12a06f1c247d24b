import type { Example } from '../data/types.ts';
import { signFlipTest, signTest } from '../lib/stats.ts';
import type { Metric } from '../metrics/types.ts';
import type { ExampleComparison, Paired, RowResult, Runtime, Verdict } from './types.ts';

export const SIGNIFICANT = 0.05;
/** Sign vectors drawn where there are too many to count: p is then known to about 0.002 near 0.05. */
const DRAWN_FLIPS = 20_000;

type Scale = Pick<Metric, 'better' | 'binary'>;

/** How much better `after` is than `before`, in the metric's unit, whichever way the metric points. */
function gain(before: RowResult, after: RowResult, metric: Scale): number {
  const difference = after.score - before.score;
  return metric.better === 'higher' ? difference : -difference;
}

/** `after` against `before` on the rows that both answered: the exact sign test for scores of 0 or 1, else a sign-flip test drawn by seed. Two-sided. */
export function pairedComparison(
  before: readonly RowResult[],
  after: readonly RowResult[],
  metric: Scale,
  seed: number,
): { readonly wins: number; readonly losses: number; readonly ties: number; readonly p: number; readonly meanGain: number } {
  const earlier = new Map(before.map((result) => [result.exampleId, result]));
  const gains: number[] = [];
  for (const result of after) {
    const other = earlier.get(result.exampleId);
    if (other !== undefined) gains.push(gain(other, result, metric));
  }
  const wins = gains.filter((g) => g > 0).length;
  const losses = gains.filter((g) => g < 0).length;
  const p = metric.binary ? signTest(wins, losses) : signFlipTest(gains, seed, DRAWN_FLIPS);
  const meanGain = gains.length === 0 ? 0 : gains.reduce((sum, g) => sum + g, 0) / gains.length;
  return { wins, losses, ties: gains.length - wins - losses, p, meanGain };
}

export function verdictOf(holmP: number, meanGain: number): Verdict {
  if (!(holmP < SIGNIFICANT) || meanGain === 0) return 'cannot-tell';
  return meanGain > 0 ? 'better' : 'worse';
}

/** What a comparison says of the runtimes of its two sides. */
export function acrossRuntimes(before: Runtime, after: Runtime): Pick<Paired, 'acrossRuntimes'> {
  return before === after ? {} : { acrossRuntimes: true };
}

/** Two contestants alone, as one of them is opened beside another: one comparison, so nothing to correct for. */
export function compareTwo(before: readonly RowResult[], after: readonly RowResult[], metric: Scale, seed: number): Paired {
  const { meanGain, ...paired } = pairedComparison(before, after, metric, seed);
  return { ...paired, holmP: paired.p, verdict: verdictOf(paired.p, meanGain) };
}

const ORDER: Readonly<Record<ExampleComparison['change'], number>> = { fixed: 0, better: 0, broken: 1, worse: 1, same: 2 };

/** Row by row: fixed, then broken, then the same (for graded scores better, worse, the same; the largest change first). A row that `before` did not
 *  answer stands without it, last. Rows that `after` did not answer are left out. `rows` number them as the screens do. */
export function compareExamples(
  before: readonly RowResult[],
  after: readonly RowResult[],
  rows: readonly { readonly example: Example; readonly number: number }[],
  metric: Scale,
): ExampleComparison[] {
  const byId = new Map(rows.map((row) => [row.example.id, row]));
  const earlier = new Map(before.map((result) => [result.exampleId, result]));
  const out: { readonly comparison: ExampleComparison; readonly size: number }[] = [];
  for (const result of after) {
    const row = byId.get(result.exampleId);
    if (row === undefined) continue;
    const other = earlier.get(result.exampleId);
    const change = other === undefined ? 0 : gain(other, result, metric);
    const up = metric.binary ? 'fixed' : 'better';
    const down = metric.binary ? 'broken' : 'worse';
    const asked = row.example.messages.findLast((message) => message.role === 'user');
    const comparison: ExampleComparison = {
      exampleId: result.exampleId,
      rowNumber: row.number,
      input: asked?.content ?? '',
      targets: row.example.targets,
      change: change > 0 ? up : change < 0 ? down : 'same',
      ...(other === undefined ? {} : { before: other }),
      after: result,
    };
    out.push({ comparison, size: Math.abs(change) });
  }
  const place = ({ comparison }: (typeof out)[number]): number => (comparison.before === undefined ? 3 : ORDER[comparison.change]);
  out.sort((a, b) => place(a) - place(b) || b.size - a.size || a.comparison.rowNumber - b.comparison.rowNumber);
  return out.map(({ comparison }) => comparison);
}
