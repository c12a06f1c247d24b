import type { Example } from '../data/types.ts';

/** Rows as chat JSONL, one a line, the answer as the last message; further accepted answers stand in `answers`. Reads back to the same rows. */
export function rowsAsJsonl(rows: readonly Example[]): string {
  return rows
    .map(({ id, messages, targets }) => {
      const [first, ...more] = targets;
      const answer = first === undefined ? [] : [{ role: 'assistant', content: first }];
      return `${JSON.stringify({ id, messages: [...messages, ...answer], ...(more.length === 0 ? {} : { answers: more }) })}\n`;
    })
    .join('');
}
