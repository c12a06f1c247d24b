import { AppError } from '../../lib/error.ts';

/** One thing that was measured: a difference and how large it may be. Counts of wrong ids and verdicts have tolerance 0. */
export interface Measurement {
  readonly what: string;
  readonly difference: number;
  readonly tolerance: number;
}
export type Outcome = { readonly skipped: string } | { readonly measurements: readonly Measurement[] };

/** One row of the report. `path` is the case's folder, in `bad/` and `vocab/` its file, relative to the folder that was given. */
export interface Case {
  readonly path: string;
  run(): Promise<Outcome>;
}

export interface Row {
  readonly path: string;
  readonly verdict: 'PASS' | 'FAIL' | 'SKIP';
  /** The measurement nearest to its tolerance or furthest beyond it. */
  readonly worst?: Measurement;
  /** Why it was skipped or could not be measured. */
  readonly reason?: string;
}

/** The rule of fixtures/README.md: the larger of a base and 20 times how far float32 runs of the oracle drift from float64. */
export const tolerance = (base: number, drift = 0): number => Math.max(base, 20 * drift);
export const LOGITS_BASE = 2e-4;
export const TENSORS_BASE = 1e-4;
/** Times the largest loss of the run. */
export const LOSS_BASE = 1e-5;
/** Times the L2 norm of the gradient of all trained tensors together. */
export const GRADIENT_BASE = 1e-4;

/** What the app refuses by name because it is not built yet: such a case is skipped. Any other error fails it. */
const UNSUPPORTED = ['model/unsupported-architecture', 'model/unsupported-feature', 'model/unsupported-tokenizer'];

/** Largest absolute difference; infinity where the lengths differ or a number is not finite. */
export function worstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Infinity : difference;
  }
  return worst;
}

/** How many ids differ, a missing or surplus one included. */
export function differentIds(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let count = 0;
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) count++;
  return count;
}

export const exact = (what: string, wrong: number): Measurement => ({ what, difference: wrong, tolerance: 0 });

const within = ({ difference, tolerance: limit }: Measurement): boolean => difference <= limit;
const severity = ({ difference, tolerance: limit }: Measurement): number => (difference === 0 ? 0 : difference / limit);

export async function runCase({ path, run }: Case): Promise<Row> {
  try {
    const outcome = await run();
    if ('skipped' in outcome) return { path, verdict: 'SKIP', reason: outcome.skipped };
    const [first, ...rest] = outcome.measurements;
    if (first === undefined) return { path, verdict: 'FAIL', reason: 'nothing in this folder could be measured' };
    const worst = rest.reduce((a, b) => (severity(b) > severity(a) ? b : a), first);
    return { path, verdict: outcome.measurements.every(within) ? 'PASS' : 'FAIL', worst };
  } catch (error) {
    if (error instanceof AppError && UNSUPPORTED.includes(error.code)) return { path, verdict: 'SKIP', reason: error.message };
    return { path, verdict: 'FAIL', reason: explain(error) };
  }
}

function explain(error: unknown): string {
  const text = error instanceof AppError ? `${error.code}: ${error.message} ${error.why}` : String(error);
  return text.replaceAll(/\s+/g, ' ').trim();
}

const number = (x: number): string => (x === 0 || Number.isInteger(x) ? String(x) : x.toExponential(2));

/** `models/llama   1.91e-5   2.67e-4  PASS  logits.1` */
export function formatRow({ path, verdict, worst, reason }: Row, pathWidth: number): string {
  const measured = worst === undefined ? ['-', '-'] : [number(worst.difference), number(worst.tolerance)];
  const columns = [path.padEnd(pathWidth), measured[0].padStart(9), measured[1].padStart(9), verdict, worst?.what ?? reason ?? ''];
  return columns.join('  ').trimEnd();
}
