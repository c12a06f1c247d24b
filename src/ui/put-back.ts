import type { Example } from '../data/types.ts';

/** The rows of now with those of `before` that are gone: what was written, changed or taken out since stays so. */
export function putBack(before: readonly Example[], gone: ReadonlySet<string>, now: readonly Example[]): readonly Example[] {
  const there = new Map(now.map((row) => [row.id, row]));
  const old = new Set(before.map((row) => row.id));
  return [...before.flatMap((row) => there.get(row.id) ?? (gone.has(row.id) ? row : [])), ...now.filter((row) => !old.has(row.id))];
}
