// How far a table is and how long it will take yet, in tokens through the network: what is read and written, three times what is trained on.

/** Where a measurement stands. Seconds are undefined until there is a rate. */
export interface Progress {
  readonly row: string;
  /** Of all work, 0 to 1. */
  readonly share: number;
  readonly secondsLeft: number | undefined;
}

export interface WorkMeter {
  begin(row: string): void;
  add(tokens: number): void;
  now(): Progress;
}

/** Before, a rate says nothing yet: the first submits compile their kernels. */
const WARM_UP_SECONDS = 30;

/** Rows in their order with the tokens that each is expected to take; what a row really took replaces that as soon as the next begins. */
export function workMeter(expected: readonly (readonly [row: string, tokens: number])[], clock: () => number): WorkMeter {
  const started = clock();
  let at = -1;
  let before = 0;
  let inRow = 0;
  return {
    begin(row) {
      before += inRow;
      inRow = 0;
      at = expected.findIndex(([name]) => name === row);
    },
    add(tokens) {
      inRow += tokens;
    },
    now() {
      const done = before + inRow;
      const rest = Math.max(0, (expected[at]?.[1] ?? 0) - inRow) + expected.slice(at + 1).reduce((sum, [, tokens]) => sum + tokens, 0);
      const seconds = clock() - started;
      return {
        row: expected[at]?.[0] ?? '',
        share: done + rest === 0 ? 1 : done / (done + rest),
        secondsLeft: seconds < WARM_UP_SECONDS ? undefined : (seconds * rest) / done,
      };
    },
  };
}

/** "row 3: 41 % of the table, about 6 min left". */
export function formatProgress({ row, share, secondsLeft }: Progress): string {
  const left =
    secondsLeft === undefined
      ? ''
      : secondsLeft < 90
        ? `, about ${secondsLeft.toFixed(0)} s left`
        : `, about ${(secondsLeft / 60).toFixed(0)} min left`;
  return `row ${row}: ${(100 * share).toFixed(0)} % of the table${left}`;
}
