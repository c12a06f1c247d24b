import { groupThousands } from './findings.ts';
import { contentKey, inputKey } from './rows.ts';
import type { DataFinding, Example, ImportFinding, Task } from './types.ts';

export type SideOf = (rowId: string) => 'train' | 'validation' | 'test' | 'unused';

const rowsWord = (n: number): string => `${groupThousands(n)} ${n === 1 ? 'row' : 'rows'}`;
const s = (n: number, one: string, many: string): string => (n === 1 ? one : many);
/** Lower case, words only, so that an answer is met inside an input as a whole word. */
const wordsOf = (text: string): string => ` ${(text.toLowerCase().match(/[\p{L}\p{N}\p{M}]+/gu) ?? []).join(' ')} `;

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** Every answer in words, so that "Yes" and "yes " agree. */
const answerKey = (row: Example): string => JSON.stringify(row.targets.map((target) => target.toLowerCase().trim()).sort());
const agree = (a: Example, b: Example): boolean => {
  const known = new Set(a.targets.map((target) => target.toLowerCase().trim()));
  return b.targets.some((target) => known.has(target.toLowerCase().trim()));
};

/**
 * What a person should know about the rows of a task, the worst first: the same row on two sides, different answers for one input, copies, rows without an
 * answer, answers that stand in their own input. `number` of a row counts from 1, as the screens do.
 */
export function dataFindings(rows: readonly Example[], task: Task, sideOf: SideOf): DataFinding[] {
  const found: DataFinding[] = [];
  const numbers = new Map(rows.map((row, i) => [row.id, i + 1]));
  const name = (some: readonly Example[]): string => {
    const first = some.slice(0, 3).map((row) => numbers.get(row.id) ?? 0);
    return some.length > 3
      ? `${first.join(', ')} and ${groupThousands(some.length - 3)} more`
      : first.join(', ').replace(/, (\d+)$/, ' and $1');
  };
  const add = (severity: ImportFinding['severity'], code: string, text: string, some: readonly Example[]): void => {
    if (some.length > 0) found.push({ severity, code, text, rowIds: some.map((row) => row.id) });
  };

  const answered = rows.filter((row) => row.targets.length > 0);
  const byInput = [...groupBy(answered, inputKey).values()].filter((group) => group.length > 1);

  const split = byInput.filter((group) => new Set(group.map((row) => sideOf(row.id))).size > 1);
  const splitRows = split.flat();
  add(
    'bad',
    'data/both-sides',
    `${rowsWord(splitRows.length)} ask${s(splitRows.length, 's', '')} what a row on another side of the split asks (${name(splitRows)}). Scores would be too high.`,
    splitRows,
  );

  const conflicts = byInput.filter((group) => group.some((row) => !agree(group[0], row)));
  const clashing = conflicts.flat();
  add(
    'warn',
    'data/conflict',
    `${groupThousands(conflicts.length)} ${s(conflicts.length, 'input has', 'inputs have')} different answers (rows ${name(clashing)}).`,
    clashing,
  );

  const copies = [...groupBy(rows, contentKey).values()].flatMap((group) => group.slice(1));
  add(
    'warn',
    'data/copies',
    `${rowsWord(copies.length)} repeat${s(copies.length, 's', '')} another row word for word (${name(copies)}). Copies stay on one side of the split.`,
    copies,
  );

  const exact = new Set(copies.map((row) => row.id));
  const near = byInput.flatMap((group) =>
    [...groupBy(group, answerKey).values()].flatMap((same) => same.filter((row) => !exact.has(row.id)).slice(1)),
  );
  add(
    'note',
    'data/near-copies',
    `${rowsWord(near.length)} differ${s(near.length, 's', '')} from another only in capitals or spaces (${name(near)}).`,
    near,
  );

  const without = rows.filter((row) => row.targets.length === 0);
  add(
    'warn',
    'data/no-answer',
    `${rowsWord(without.length)} ${s(without.length, 'has', 'have')} no answer (${name(without)}): never trained on, never scored.`,
    without,
  );

  // Where the answer is to be taken from the input, it stands there; elsewhere the input gives it away.
  if (task === 'classification' || task === 'other') {
    const given = answered.filter((row) => {
      const input = wordsOf(row.messages.map(({ content }) => content).join('\n'));
      return row.targets.some((target) => wordsOf(target).trim().length > 2 && input.includes(wordsOf(target)));
    });
    const text = `${rowsWord(given.length)} ${s(given.length, 'holds its', 'hold their')} own answer in the input (${name(given)}). Check that real inputs do too.`;
    add('note', 'data/answer-in-input', text, given);
  }
  return found;
}
