import { formatP } from '../lib/stats.ts';
import type { Metric } from '../metrics/types.ts';
import { SIGNIFICANT } from './compare.ts';
import type { BoardRow, Split } from './types.ts';

export interface FindingOptions {
  /** Rows that count, best first. */
  readonly rows: readonly BoardRow[];
  /** Rows of the split. */
  readonly n: number;
  readonly metric: Pick<Metric, 'binary' | 'name'>;
  readonly split: Split;
  /** There are results, but of other rows, another model or another score. */
  readonly stale: boolean;
  /** There are scores of contestants that have met these rows. */
  readonly unfair?: boolean;
  /** Uncorrected p of two of `rows`, by their places. */
  readonly pairP: (a: number, b: number) => number;
}

const WORDS = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];
const inWords = (count: number): string => WORDS[count] ?? String(count);
const others = (count: number): string => `${inWords(count)} ${count === 1 ? 'other' : 'others'}`;
const rowsOf = (n: number): string => (n === 1 ? '1 row' : `${n} rows`);
const pText = (p: number): string => (formatP(p).startsWith('<') ? `p ${formatP(p)}` : `p = ${formatP(p)}`);

function scoreText(row: BoardRow): string {
  if (row.score === undefined) return 'not measured yet';
  return row.passed === undefined ? row.score.mean.toFixed(2) : `${row.passed} of ${row.score.n}`;
}

/** The board in one sentence with its numbers (design.md section 7). A difference that the rows do not support is said to be none. */
export function finding(options: FindingOptions): string {
  const { rows, n, metric, split } = options;
  if (n === 0) return `There are no ${split} rows with an answer to measure on.`;
  if (rows.length === 0 && options.stale) return `What was measured no longer counts: measure again on the ${rowsOf(n)} of ${split}.`;
  if (rows.length === 0) return `Nothing is measured yet on the ${rowsOf(n)} of ${split}.`;
  const [leader] = rows;
  if (rows.length === 1) {
    const did = metric.binary
      ? `answers ${scoreText(leader)} rows right`
      : `scores ${scoreText(leader)} on ${rowsOf(leader.score?.n ?? n)}`;
    return `${leader.name} ${did}. ${options.unfair === true ? 'What else is measured has met these rows before.' : 'Nothing else is measured yet.'}`;
  }
  return rows.length === 2 ? findingOfTwo(options) : findingOfMany(options);
}

/** Are the rows able to tell the leader from the contestant at this place? Against Base the Holm-corrected verdict decides, as its column says. */
function separated({ rows, pairP }: FindingOptions, place: number): boolean {
  if (pairP(0, place) >= SIGNIFICANT) return false;
  const verdict =
    rows[place].method === 'base' ? rows[0].againstBase?.verdict : rows[0].method === 'base' ? rows[place].againstBase?.verdict : undefined;
  return verdict !== 'cannot-tell';
}

function findingOfTwo(options: FindingOptions): string {
  const [leader, other] = options.rows;
  const paired = leader.againstBase ?? other.againstBase;
  const p = paired?.holmP ?? options.pairP(0, 1);
  const n = Math.min(leader.score?.n ?? 0, other.score?.n ?? 0);
  if (separated(options, 1)) {
    return `${leader.name} is better than ${other.name}: ${scoreText(leader)} against ${scoreText(other)} (${pText(p)}).`;
  }
  return `${rowsOf(n)} cannot tell ${leader.name} from ${other.name}: ${scoreText(leader)} against ${scoreText(other)} (${pText(p)}).`;
}

function findingOfMany(options: FindingOptions): string {
  const { rows } = options;
  const [leader] = rows;
  const n = leader.score?.n ?? options.n;
  const close = rows.slice(1).filter((_, i) => !separated(options, i + 1));
  const level = close.filter((row) => row.score?.mean === leader.score?.mean);
  if (close.length === rows.length - 1) return `${rowsOf(n)} cannot tell these ${rows.length} contestants apart.`;
  if (close.length === 0) return `${leader.name} leads with ${scoreText(leader)}, and ${rowsOf(n)} separate it from every other.`;
  const lead = level.length > 0 ? `${leader.name} and ${others(level.length)} share the lead` : `${leader.name} leads`;
  const rest = close.length === 1 ? close[0].name : others(close.length);
  return `${lead}, but ${rowsOf(n)} cannot separate ${level.length > 0 ? leader.name : 'it'} from ${rest}.`;
}
