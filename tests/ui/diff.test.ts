import { describe, expect, it } from 'vitest';
import { phraseDiff } from '../../src/ui/diff.ts';

const side = (parts: ReturnType<typeof phraseDiff>, gone: 'added' | 'removed') =>
  parts
    .filter((p) => p.kind !== gone)
    .map((p) => p.text)
    .join('');

describe('a diff in phrases', () => {
  const before =
    'Hello! Thank you so much for reaching out to us! Your order will arrive soon. Please let us know if there is anything else.';
  const after =
    'Dear Mara, the delay is ours. Your rear wheel left us today and arrives on Monday. If not, reply here. Yours, Halden Cycles';
  it('gives both texts back, letter for letter', () => {
    for (const [a, b] of [
      [before, after],
      ['', 'x'],
      ['x', ''],
      ['a  b\nc', 'a b\n\nc'],
      ['same', 'same'],
      [' lead', ' leads'],
      ['x '.repeat(15_000), 'y'],
    ]) {
      const parts = phraseDiff(a ?? '', b ?? '');
      expect(side(parts, 'added')).toBe(a);
      expect(side(parts, 'removed')).toBe(b);
    }
  });
  it('keeps what really stayed', () => {
    expect(phraseDiff('Dear Ilse, yes, on Saturday from nine to two.', 'Dear Ilse, yes, from nine to two.').map((p) => p.kind)).toEqual([
      'same',
      'removed',
      'same',
    ]);
  });
  it('takes chance agreements into the change', () => {
    const changes = phraseDiff(before, after).filter((p) => p.kind !== 'same');
    expect(changes.length).toBeLessThanOrEqual(6);
  });
});
