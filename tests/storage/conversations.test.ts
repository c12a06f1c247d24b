import { describe, expect, test } from 'vitest';
import { joined, KEPT_CHARACTERS, KEPT_TURNS, type KeptTurn, type KeptTurns } from '../../src/storage/conversations.ts';

const turn = (n: number, text = 'Yes.'): KeptTurn => ({
  id: `t${n}`,
  askedAt: n,
  question: `${n}?`,
  answers: { a: { text, state: 'done' } },
});
const none: KeptTurns = { turns: [], dropped: 0 };
const ids = ({ turns }: KeptTurns) => turns.map(({ id }) => id);

describe('turns of a conversation', () => {
  test('a turn of one tab joins those of another by the time it was asked; one that is there already is replaced', () => {
    const kept = joined(joined(joined(none, turn(1)), turn(3)), turn(2));
    expect(ids(kept)).toEqual(['t1', 't2', 't3']);
    const again = joined(kept, turn(2, 'No.'));
    expect(ids(again)).toEqual(['t1', 't2', 't3']);
    expect(again.turns[1]?.answers.a?.text).toBe('No.');
  });
  test('beyond so many the oldest go, and are counted', () => {
    let kept = none;
    for (let n = 0; n < KEPT_TURNS + 3; n++) kept = joined(kept, turn(n));
    expect(kept.turns).toHaveLength(KEPT_TURNS);
    expect(ids(kept)[0]).toBe('t3');
    expect(kept.dropped).toBe(3);
  });
  test('very long ones go sooner; the newest stays however long it is', () => {
    const long = 'x'.repeat(KEPT_CHARACTERS / 2);
    const kept = [1, 2, 3].reduce((all, n) => joined(all, turn(n, long)), none);
    expect(ids(kept)).toEqual(['t3']);
    expect(kept.dropped).toBe(2);
    expect(ids(joined(kept, turn(4, `${long}${long}${long}`)))).toEqual(['t4']);
  });
});
