import { signTest } from '../lib/stats.ts';
import { contentHash, inputKey } from './rows.ts';
import type { Dataset, Example, SplitShares, Task } from './types.ts';

export const USUAL_SHARES: SplitShares = { train: 0.6, validation: 0.2, test: 0.2 };
export const HALVES: SplitShares = { train: 0.5, validation: 0.5, test: 0 };
/** Below this a fifth of the rows is too few to tell anything. */
export const ROWS_FOR_A_TEST = 60;

/** Rows of each side in their own order. `unused` are those without an answer. */
export interface SplitRows {
  readonly train: readonly Example[];
  readonly validation: readonly Example[];
  readonly test: readonly Example[];
  readonly unused: readonly Example[];
}

/** 60/20/20; under 60 rows half train, half validation and no test. `n` counts rows with an answer. */
export function proposeShares(n: number): SplitShares {
  return n < ROWS_FOR_A_TEST ? HALVES : USUAL_SHARES;
}

/**
 * Splits rows by seed. Rows that ask the same (capitals and spaces aside) stay together, so that no row is judged on what another taught. Each group's
 * place in the order is a hash of the seed and its text, so it does not depend on the other rows: adding a row moves few others.
 */
export function splitRows(rows: readonly Example[], seed: number, shares: SplitShares): SplitRows {
  const groups = new Map<string, Example[]>();
  for (const row of rows) {
    if (row.targets.length === 0) continue;
    const key = inputKey(row);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  const order = [...groups]
    .map(([key, group]) => ({ group, place: contentHash(key, seed) }))
    .sort((a, b) => (a.place < b.place ? -1 : a.place > b.place ? 1 : 0));

  const n = order.reduce((sum, { group }) => sum + group.length, 0);
  // At least one row a side where there are groups enough, training first.
  const wanted = (share: number, groupsNeeded: number): number =>
    share > 0 ? Math.max(Math.round(n * share), groups.size >= groupsNeeded ? 1 : 0) : 0;
  const validation = Math.min(wanted(shares.validation, 2), Math.max(n - 1, 0));
  const test = Math.min(wanted(shares.test, 3), Math.max(n - 1 - validation, 0));
  const room = { train: n - test - validation, validation, test };
  const side = new Map<Example, keyof SplitShares>();
  const sides = ['train', 'validation', 'test'] as const;
  for (const { group } of order) {
    const fitting = sides.find((name) => room[name] >= group.length);
    const roomiest = sides.reduce((best, name) => (room[name] > room[best] ? name : best), 'train');
    const chosen = fitting ?? roomiest;
    room[chosen] -= group.length;
    for (const row of group) side.set(row, chosen);
  }
  const of = (name: keyof SplitShares | undefined): Example[] => rows.filter((row) => side.get(row) === name);
  return { train: of('train'), validation: of('validation'), test: of('test'), unused: of(undefined) };
}

export interface DatasetParts {
  readonly id: string;
  readonly version: number;
  readonly seed: number;
  readonly task: Task;
  readonly rows: readonly Example[];
  readonly shares: SplitShares;
}
/** The rows as every method is fitted and judged on them. Rows without an answer are in none of the three. */
export function datasetOf({ id, version, seed, task, rows, shares }: DatasetParts): Dataset {
  const { train, validation, test } = splitRows(rows, seed, shares);
  return { id, version, seed, task, train, validation, test };
}

/** Probability of each count of successes in n: exact, by logarithms. */
function binomial(n: number, p: number): Float64Array {
  const out = new Float64Array(n + 1);
  if (p <= 0 || p >= 1) {
    out[p <= 0 ? 0 : n] = 1;
    return out;
  }
  let log = n * Math.log1p(-p);
  for (let k = 0; k <= n; k++) {
    out[k] = Math.exp(log);
    log += Math.log(((n - k) / (k + 1)) * (p / (1 - p)));
  }
  return out;
}

/** The fewest wins against `losses` that the exact sign test calls clear (p < .05): 6 against none. */
export function winsNeeded(losses: number): number {
  let wins = losses + 1;
  while (signTest(wins, losses) >= 0.05) wins++;
  return wins;
}

/** Share of experiments of n rows in which the exact sign test finds the better method, when it fixes and breaks these shares of rows. */
export function powerOf(n: number, fixed: number, broken: number): number {
  const differing = binomial(n, fixed + broken);
  let power = 0;
  let losses = -1; // the most losses among m differing rows that are still significant; it never falls while m rises
  for (let m = 1; m <= n; m++) {
    while (2 * (losses + 1) < m && signTest(m - losses - 1, losses + 1) < 0.05) losses++;
    const lost = binomial(m, broken / (fixed + broken));
    let found = 0;
    for (let k = 0; k <= losses; k++) found += lost[k];
    power += differing[m] * found;
  }
  return power;
}

/**
 * How many rows prove a clear win. A method that fixes `difference + broken` of the rows and breaks `broken` of them is better by `difference`; the answer
 * is the smallest n at which the exact two-sided sign test (McNemar) at .05 finds that four times in five: power(n) = sum over m of
 * Binomial(m; n, fixed + broken) * P(at most c(m) losses among m), c(m) the most losses that are still significant.
 */
export function rowsForClearWin(difference = 0.2, broken = 0.05, power = 0.8): number {
  let n = winsNeeded(0);
  while (n < 5000 && powerOf(n, difference + broken, broken) < power) n++;
  return n;
}

let usual: number | undefined;
/** One sentence for the Data screen: what these validation rows can prove. */
export function powerNote(validationRows: number, shares: SplitShares): string {
  usual ??= rowsForClearWin();
  const rows = Math.ceil(usual / Math.max(shares.validation, 0.01));
  const goal = `a method that is better by 0.20 (25 of 100 rows fixed, 5 broken) is found four times in five with ${usual} validation rows, ${rows} rows in all`;
  if (validationRows >= usual) return `${validationRows} validation rows are enough: ${goal}.`;
  if (validationRows < winsNeeded(0))
    return `${validationRows} validation rows cannot prove a win: six fixed and none broken is the least that does; ${goal}.`;
  return `With ${validationRows} validation rows a win is clear when six are fixed and none is broken; ${goal}.`;
}
