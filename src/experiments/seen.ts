import { contentHash, inputKey } from '../data/rows.ts';
import type { Example } from '../data/types.ts';
import type { Prompt } from '../methods/types.ts';
import type { Met, Seen } from './types.ts';

/** Hex digits of a key: 40 bits, so that among 10 000 rows two that differ share one in 1 of 20 000 tasks. */
const DIGITS = 10;

/** Rows that ask the same, capitals and spaces aside, have one key. */
const keyOf = (row: Pick<Example, 'messages'>): string => contentHash(inputKey(row)).slice(-DIGITS);
const keysOf = (rows: readonly Example[]): string => rows.map(keyOf).join('');
function setOf(keys: string): ReadonlySet<string> {
  const out = new Set<string>();
  for (let at = 0; at < keys.length; at += DIGITS) out.add(keys.slice(at, at + DIGITS));
  return out;
}

/** The rows that a run meets, to be kept with what it makes: a later split may put them on another side. */
export function seenOf({ train, validation }: { readonly train: readonly Example[]; readonly validation: readonly Example[] }): Seen {
  return { trained: keysOf(train), chosen: keysOf(validation) };
}

/** How many of these rows a contestant has met. Of one that was trained elsewhere only its shots are known. */
export function metIn(
  rows: readonly Example[],
  { prompt, seen }: { readonly prompt: Pick<Prompt, 'shots'>; readonly seen?: Seen | undefined },
): Met {
  if (seen === undefined && prompt.shots.length === 0) return { trained: 0, shown: 0, chosen: undefined };
  const keys = rows.map(keyOf);
  const among = (met: ReadonlySet<string>): number => keys.filter((key) => met.has(key)).length;
  return {
    trained: among(setOf(seen?.trained ?? '')),
    shown: among(new Set(prompt.shots.map(keyOf))),
    chosen: seen === undefined ? undefined : among(setOf(seen.chosen)),
  };
}
