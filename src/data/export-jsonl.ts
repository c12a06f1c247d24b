import type { Example } from './types.ts';

/** Rows as JSON Lines in chat form, which reads back as the same rows. Further accepted answers stand under `answers`. */
export function rowsToJsonl(rows: readonly Example[]): string {
  return rows
    .map(({ id, messages, targets }) => {
      const [first, ...others] = targets;
      const all = first === undefined ? messages : [...messages, { role: 'assistant', content: first }];
      return `${JSON.stringify({ id, messages: all, ...(others.length > 0 ? { answers: others } : {}) })}\n`;
    })
    .join('');
}
