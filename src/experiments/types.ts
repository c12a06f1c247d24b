import type { Prompt } from '../methods/types.ts';
import type { MetricDeclaration } from '../metrics/types.ts';

export type Split = 'validation' | 'test';
/** What answers: our engine, or web-llm over the same weights. */
export type Runtime = 'engine' | 'webllm';
export type RunStatus = 'fitting' | 'paused' | 'evaluating' | 'done' | 'stopped' | 'failed';

export interface Score {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly n: number;
  readonly split: Split;
  readonly runtime: Runtime;
}
export interface Cost {
  readonly seconds: number;
  readonly peakBytes: number;
  readonly tokens: number;
  readonly extraTokensPerCall: number;
  readonly bytesToShip: number;
}
/** The rows that trained weights were made with, by the key of what each asks (`seen.ts`), one behind the other. */
export interface Seen {
  readonly trained: string;
  /** Those that the checkpoint was chosen on. */
  readonly chosen: string;
}
/** How many rows of a split a contestant was trained on, is shown as shots, and had its checkpoint chosen on (undefined where that is not known). */
export interface Met {
  readonly trained: number;
  readonly shown: number;
  readonly chosen: number | undefined;
}
export interface CurvePoint {
  readonly step: number;
  readonly value: number;
}
/** All that is needed to repeat a run, and what came of it. */
export interface Run {
  readonly id: string;
  readonly taskId: string;
  readonly method: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly model: string;
  readonly dataset: { readonly id: string; readonly version: number };
  readonly prompt: Prompt;
  readonly seed: number;
  readonly startedAt: number; // ms since the epoch, UTC
  readonly status: RunStatus;
  readonly error?: { readonly code: string; readonly message: string };
  /** The contestant made of it. */
  readonly contestantId?: string;
  readonly steps: number;
  readonly step: number;
  readonly best?: { readonly step: number; readonly score: number };
  /** By name: 'loss', 'validation loss', 'score', 'lr', 'tokens/s'. */
  readonly curves: Readonly<Record<string, readonly CurvePoint[]>>;
  /** The pinned prompts' answers: at step 0 (Base), at the best validation and at the last one, in that order. */
  readonly samples: readonly { readonly step: number; readonly name: string; readonly text: string }[];
  readonly cost: Cost;
}

/** One row as a contestant answered it. */
export interface RowResult {
  readonly exampleId: string;
  /** All that the model wrote. */
  readonly reply: string;
  /** What was scored: the reply, or the answer taken out of a step-by-step reply. */
  readonly answer: string;
  readonly score: number;
  readonly promptTokens: number;
  readonly replyTokens: number;
  /** The reply reached the longest answer allowed, or the end of the context, and was cut there. */
  readonly cut: boolean;
}

export type Verdict = 'better' | 'worse' | 'cannot-tell';
/** A paired comparison on the rows that both answered. */
export interface Paired {
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
  /** Exact sign test for scores of 0 or 1, else a seeded sign-flip test; uncorrected. */
  readonly p: number;
  /** Holm-corrected over the rows shown. */
  readonly holmP: number;
  readonly verdict: Verdict;
  /** The two were answered by different runtimes: the same weights, and other kernels, whose last digits differ. */
  readonly acrossRuntimes?: true;
}

export interface BoardRow {
  readonly contestantId: string;
  readonly name: string;
  readonly method: string;
  readonly mark: string;
  readonly subtitle: string;
  /** 'stale': rows, metric or model changed since it was measured; 'partial': stopped before the end. */
  readonly state: 'done' | 'partial' | 'stale' | 'none' | 'fitting' | 'scoring' | 'failed';
  readonly score?: Score;
  /** What the other runtime's answers scored, where they count too; nothing is compared with it. */
  readonly otherScore?: Score;
  /** How many rows scored 1, for metrics of 0 or 1. */
  readonly passed?: number;
  readonly againstBase?: Paired;
  /** It has met rows that it is scored on, as a note says: its score stands for itself and is compared with nothing. */
  readonly unfair?: true;
  readonly extraTokensPerCall?: number;
  readonly bytesToShip?: number;
  readonly seconds?: number;
  readonly tokensPerSecond?: number;
  readonly cutReplies?: number;
  /** Said beside the row: "checkpoint chosen on these rows", "made after the test was opened". */
  readonly notes: readonly string[];
}
/** Neighbours that the data cannot tell apart: rows [first, last] of the sorted board, drawn in `lane`. */
export interface Bracket {
  readonly first: number;
  readonly last: number;
  readonly lane: number;
}
export interface Board {
  readonly taskId: string;
  readonly split: Split;
  readonly metric: MetricDeclaration;
  /** Scored rows by score, best first, then those without a score. */
  readonly rows: readonly BoardRow[];
  readonly brackets: readonly Bracket[];
  readonly comparisons: number;
  readonly n: number;
  /** One sentence with numbers: what the board says. */
  readonly finding: string;
  readonly testOpenedAt?: number;
}

/** One row of a contestant beside the same row of another. */
export interface ExampleComparison {
  readonly exampleId: string;
  readonly rowNumber: number;
  readonly input: string;
  readonly targets: readonly string[];
  readonly change: 'fixed' | 'broken' | 'same' | 'better' | 'worse';
  readonly before?: RowResult;
  readonly after: RowResult;
}
