import { expect, it } from 'vitest';
import type { Example } from '../../src/data/types.ts';
import { putBack } from '../../src/ui/put-back.ts';

const row = (id: string, answer = id): Example => ({ id, messages: [{ role: 'user', content: id }], targets: [answer] });
const said = (rows: readonly Example[]) => rows.map(({ id, targets }) => `${id}:${targets[0]}`);

it('puts rows back where they were, and keeps what was written, changed and taken out since', () => {
  const before = [row('a'), row('b'), row('c'), row('d')];
  const now = [row('a', 'changed'), row('d'), row('new')];
  // b was taken out by what is undone, c by something else.
  expect(said(putBack(before, new Set(['b']), now))).toEqual(['a:changed', 'b:b', 'd:d', 'new:new']);
});
it('puts nothing back twice', () => {
  const before = [row('a'), row('b')];
  const once = putBack(before, new Set(['a']), [row('b')]);
  expect(putBack(before, new Set(['a']), once)).toEqual(once);
});
