import { expect, test } from 'vitest';
import { createTextStream } from '../../workers/engine/text-stream.ts';

/** A tokenizer of single bytes, and one that swallows a space at the very start of a text as SentencePiece ones do. */
const bytes = { decode: (ids: ArrayLike<number>) => new TextDecoder().decode(Uint8Array.from(ids)) };
const sentencePiece = { decode: (ids: ArrayLike<number>) => bytes.decode(ids).replace(/^ /, '') };
const idsOf = (text: string): number[] => [...new TextEncoder().encode(text)];

test.each(['plain text', 'Zürich, Käse', '日本語 and عربي', 'family 👨‍👩‍👧 done 🎉', ''])(
  'the pieces of %j join to the text, none of them broken',
  (text) => {
    const stream = createTextStream(bytes);
    const pieces = idsOf(text).map((id) => stream.push(id));
    pieces.push(stream.end());
    expect(pieces.join('')).toBe(text);
    expect(stream.text).toBe(text);
    expect(pieces.some((piece) => piece.includes('\ufffd'))).toBe(false);
  },
);

test('spaces inside a text survive a tokenizer that drops the first one', () => {
  const stream = createTextStream(sentencePiece);
  const text = idsOf(' one  two three')
    .map((id) => stream.push(id))
    .join('');
  expect(text + stream.end()).toBe('one  two three');
});

test('a character that is never completed comes at the end', () => {
  const stream = createTextStream(bytes);
  expect(stream.push(0x61)).toBe('a');
  expect(stream.push(0xf0)).toBe('');
  expect(stream.push(0x9f)).toBe('');
  expect(stream.end()).toContain('\ufffd');
});

test('bytes that are no UTF-8 do not hold the text back for ever', () => {
  const stream = createTextStream(bytes);
  const text = [0xff, 0xff, 0xff, 0xff, 0xff, 0x61].map((id) => stream.push(id)).join('') + stream.end();
  expect(text.endsWith('a')).toBe(true);
});
