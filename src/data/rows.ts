import type { Message } from '../text/types.ts';
import type { Example } from './types.ts';

/** 53 bits of a text, as 14 hex digits. cyrb53 by bryc (public domain): not for secrets, enough to tell rows apart. */
export function contentHash(text: string, seed = 0): string {
  let a = 0xdeadbeef ^ seed;
  let b = 0x41c6ce57 ^ seed;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 2654435761);
    b = Math.imul(b ^ unit, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return (4294967296 * (2097151 & b) + (a >>> 0)).toString(16).padStart(14, '0');
}

/** A row before it has an id. */
export interface Draft {
  readonly messages: readonly Message[];
  readonly targets: readonly string[];
  /** The id that the file gives it. */
  readonly id?: string;
}

export const contentKey = ({ messages, targets }: Omit<Example, 'id'>): string =>
  JSON.stringify([messages.map(({ role, content }) => [role, content]), targets]);

/** What two rows share that ask the same: their messages without differences of capitals and spaces. Rows of one key never stand on two sides of a split. */
export const inputKey = ({ messages }: Pick<Example, 'messages'>): string =>
  JSON.stringify(messages.map(({ role, content }) => [role, content.normalize('NFC').toLowerCase().trim().split(/\s+/u).join(' ')]));

/** Gives rows their ids: the file's own, else a hash of what the row says, so that the same row has the same id in every file. A repeated id gets a number. */
export function withIds(drafts: readonly Draft[], taken: Iterable<string> = []): Example[] {
  const used = new Set(taken);
  return drafts.map(({ id, messages, targets }) => {
    const base = id !== undefined && id.trim() !== '' ? id.trim() : contentHash(contentKey({ messages, targets }));
    let unique = base;
    for (let n = 2; used.has(unique); n++) unique = `${base}-${n}`;
    used.add(unique);
    return { id: unique, messages, targets };
  });
}

/** A hash of the rows and their order: the same rows, the same results. */
export const versionHash = (rows: readonly Example[]): string => contentHash(rows.map((row) => `${row.id} ${contentKey(row)}`).join('\n'));

/** One row as people write it by hand or a table has it. */
export function draftOf(parts: {
  readonly system?: string;
  readonly input: string;
  readonly answers: readonly string[];
  readonly id?: string;
}): Draft {
  const messages: Message[] = [];
  if (parts.system !== undefined && parts.system.trim() !== '') messages.push({ role: 'system', content: parts.system });
  messages.push({ role: 'user', content: parts.input });
  const targets = [...new Set(parts.answers.filter((answer) => answer.trim() !== ''))];
  return { messages, targets, ...(parts.id === undefined ? {} : { id: parts.id }) };
}
