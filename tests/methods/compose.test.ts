import { expect, test } from 'vitest';
import type { Example } from '../../src/data/types.ts';
import { composeMessages, drawShots, extractAnswer, extractFor, isNumber, withCue } from '../../src/methods/compose.ts';
import { emptyPrompt, STEP_CUE } from '../../src/methods/types.ts';

function row(id: string, input: string, ...targets: string[]): Example {
  return { id, messages: [{ role: 'user', content: input }], targets };
}

test('the empty prompt leaves a row as it is', () => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hi' },
  ] as const;
  expect(composeMessages(emptyPrompt, messages)).toEqual(messages);
});

test('system text comes first, merged with the row’s own, then shots as earlier turns, then the row with its cue', () => {
  const shot: Example = {
    id: 's',
    messages: [
      { role: 'system', content: 'ignored in a shot' },
      { role: 'user', content: '1 + 1?' },
    ],
    targets: ['2', 'two'],
  };
  const noAnswer = row('n', 'open');
  const prompt = { system: 'You add.', shots: [shot, noAnswer], cue: 'Show the steps.', extract: 'last-number' } as const;
  expect(
    composeMessages(prompt, [
      { role: 'system', content: 'Use digits.' },
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: 'Hello.' },
      { role: 'user', content: '2 + 3?' },
    ]),
  ).toEqual([
    { role: 'system', content: 'You add.\n\nUse digits.' },
    { role: 'user', content: '1 + 1?' },
    { role: 'assistant', content: '2' },
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'Hello.' },
    { role: 'user', content: '2 + 3?\n\nShow the steps.' },
  ]);
});

test('a step-by-step answer is what follows the last mark', () => {
  expect(extractAnswer('First Answer: no.\nThen more.\nAnswer: 42', 'after-answer-mark')).toBe('42');
  expect(extractAnswer('Steps.\n**Answer:** Paris', 'last-number')).toBe('Paris');
  expect(extractAnswer('Answer:', 'after-answer-mark')).toBe('');
});

test('without the mark it is the last number where the prompt says so, else the last line that is not empty', () => {
  expect(extractAnswer('3 plus 4 is 7.\nSo it is 7, I think', 'last-number')).toBe('7');
  expect(extractAnswer('It costs 1,234.50 in all.', 'last-number')).toBe('1,234.50');
  expect(extractAnswer('12 minus 20 is -8.', 'last-number')).toBe('-8');
  expect(extractAnswer('5-3', 'last-number')).toBe('3');
  expect(extractAnswer('none here\n', 'last-number')).toBe('none here');
  expect(extractAnswer('Let me see.\n\n  Berlin  \n\n', 'after-answer-mark')).toBe('Berlin');
  expect(extractAnswer('Answer: 4\nthanks', 'whole')).toBe('Answer: 4\nthanks');
  expect(extractAnswer(' \n', 'last-line')).toBe('');
});

test('the last number is looked for only where all training answers are numbers', () => {
  expect(extractFor([row('a', 'x', '7'), row('b', 'y', '-1,000.5')])).toBe('last-number');
  expect(extractFor([row('a', 'x', '7'), row('b', 'y', 'seven')])).toBe('after-answer-mark');
  expect(extractFor([])).toBe('after-answer-mark');
  expect(isNumber('12 apples')).toBe(false);
  expect(withCue(emptyPrompt, STEP_CUE, [row('a', 'x', '7')]).extract).toBe('last-number');
  expect(withCue(emptyPrompt, '', [row('a', 'x', '7')]).extract).toBe('whole');
});

test('shots are drawn by seed and take labels in turn', () => {
  const rows = Array.from({ length: 30 }, (_, i) => row(`${i}`, `text ${i}`, i < 24 ? 'yes' : 'no'));
  const drawn = drawShots(rows, 6, 5);
  expect(drawn.filter((example) => example.targets[0] === 'no')).toHaveLength(3);
  expect(drawShots(rows, 6, 5)).toEqual(drawn);
  expect(drawShots(rows, 6, 6)).not.toEqual(drawn);
});

test('shots are never drawn twice, never without an answer, never more than there are', () => {
  const rows = [row('a', 'x', '1'), row('b', 'y'), row('c', 'z', '2')];
  expect(
    drawShots(rows, 5, 1)
      .map((example) => example.id)
      .sort(),
  ).toEqual(['a', 'c']);
  const labels = Array.from({ length: 9 }, (_, i) => row(`${i}`, `t${i}`, i === 0 ? 'rare' : 'often'));
  expect(new Set(drawShots(labels, 9, 1).map((example) => example.id)).size).toBe(9);
});
