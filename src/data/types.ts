import type { Message } from '../text/types.ts';

/** One row: the conversation up to the answer (one user message, for a plain row), and the accepted answers. */
export interface Example {
  readonly id: string;
  readonly messages: readonly Message[];
  /** Several for question answering, one otherwise, none for open-ended writing (never trained on, scored only by metrics without targets). */
  readonly targets: readonly string[];
}

export type Task =
  | 'classification'
  | 'extraction'
  | 'question-answering'
  | 'summarization'
  | 'rewriting'
  | 'creative-writing'
  | 'chat'
  | 'other';

/** Shares of the rows, adding up to 1. `test` may be 0: then there is no test. */
export interface SplitShares {
  readonly train: number;
  readonly validation: number;
  readonly test: number;
}

/** A split fixed by `seed`, so every method is fitted and judged on the same rows. */
export interface Dataset {
  readonly id: string;
  readonly version: number;
  readonly seed: number;
  readonly task: Task;
  readonly train: readonly Example[];
  readonly validation: readonly Example[]; // for choosing settings
  readonly test: readonly Example[]; // read once, by the runner, after fitting; no method is handed it
}

/** A table as it came out of a file, before anybody said what its columns mean. */
export interface RawTable {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Line of the file (from 1) on which each row begins. */
  readonly lines: readonly number[];
}
export type ColumnRole = 'system' | 'input' | 'answer' | 'id' | 'ignore';

/** Something about the data that a person should know; `line` counts from 1. */
export interface ImportFinding {
  readonly severity: 'bad' | 'warn' | 'note';
  readonly code: string;
  readonly text: string;
  readonly line?: number;
}

/** A finding about rows that are in the task, for the data screen. */
export interface DataFinding extends ImportFinding {
  readonly rowIds: readonly string[];
}

/** What came out of a file or a paste. A table still needs its columns mapped; everything else is rows already. */
export interface ImportResult {
  readonly kind: 'jsonl-chat' | 'alpaca' | 'prompt-completion' | 'table';
  /** Empty for a table. A row without an answer has no targets. */
  readonly examples: readonly Example[];
  readonly table?: RawTable;
  /** The proposed role of each column of `table`. */
  readonly roles?: readonly ColumnRole[];
  readonly findings: readonly ImportFinding[];
  /** Rows met, and those of them left out, each named by a finding. */
  readonly read: number;
  readonly leftOut: number;
  /** How the bytes were read: "UTF-8", "UTF-16", "Windows-1252"; absent for a paste. */
  readonly encoding?: string;
  /** What stands between the cells of a table: ",", ";", a tab or "|". */
  readonly delimiter?: string;
}
