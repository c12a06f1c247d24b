import { expect, test } from 'vitest';
import { encodeRows } from '../../src/methods/encode-rows.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import type { Encoded } from '../../src/text/types.ts';
import { row } from '../support/tiny.ts';

const encoded = (length: number, more: Partial<Encoded> = {}): Encoded => ({
  ...{ tokens: new Uint32Array(length), mask: new Uint8Array(length).fill(1, length - 2), promptLength: length - 2, stopId: 2 },
  ...{ answerAlone: false, rewritesTurns: false, ...more },
});

test('what is left out of training or encoded otherwise is counted and said, and nothing is cut', async () => {
  const rows = [row('a', 'one', 'x'), row('b', 'two', 'x'), row('c', 'three', 'x'), row('open', 'four')];
  const known = new Map([
    ['a', encoded(6, { answerAlone: true })],
    ['b', encoded(40)],
    ['c', encoded(8, { rewritesTurns: true })],
  ]);
  const notes: [string, string][] = [];
  const kept = await encodeRows(
    {
      prompt: emptyPrompt,
      encode: async ({ id }) => known.get(id) ?? encoded(4),
      note: (code, text) => void notes.push([code, text]),
    },
    rows,
    20,
    'training',
  );
  expect(kept.map(({ tokens }) => tokens.length)).toEqual([6, 8]);
  expect(notes).toEqual([
    ['fit/rows-without-answer', '1 of 4 training rows have no answer and are left out.'],
    ['fit/rows-too-long', '1 of 3 training rows are longer than 20 tokens and are left out, none of them cut.'],
    ['fit/last-turn-only', 'The chat template rewrites earlier turns, so only the last turn of a row is trained.'],
    ['fit/answers-alone', '1 of 2 training answers are encoded on their own, since the tokenizer joins them with the prompt.'],
  ]);
});
