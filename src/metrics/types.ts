import type { Example } from '../data/types.ts';

/** Where a number or method comes from: a paper or documentation. */
export interface Source {
  readonly label: string;
  readonly url?: string;
}

export interface Metric {
  readonly id: string;
  readonly name: string;
  /** One line: what it measures and when to choose it. */
  readonly summary: string;
  readonly better: 'higher' | 'lower';
  /** Every score is 0 or 1, so that counts, Wilson's interval and the sign test apply. */
  readonly binary: boolean;
  readonly source: Source;
  /** One example, in the paper's unit (ROUGE and F1: 0 to 1). The runner averages and adds a 95 % interval. */
  score(prediction: string, example: Example): number;
}

export interface MetricDeclaration {
  readonly id: string;
  readonly name: string;
  readonly summary: string;
  readonly better: 'higher' | 'lower';
  readonly binary: boolean;
  readonly source: Source;
}
