import { expect, test } from 'vitest';
import { ggufStops } from '../../src/formats/gguf-stops.ts';
import type { GgufValue } from '../../src/formats/gguf-types.ts';

function metadata(kind: string, tokens: readonly (readonly [token: string, type: number])[], ids: Record<string, number | boolean>) {
  return new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { type: 'string', value: kind }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens.map(([token]) => token) }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: tokens.map(([, type]) => type) }],
    ...Object.entries(ids).map(([key, value]): [string, GgufValue] => [
      `tokenizer.ggml.${key}`,
      typeof value === 'boolean' ? { type: 'bool', value } : { type: 'u32', value },
    ]),
  ]);
}
const pieces = [
  ['<unk>', 2],
  ['<s>', 3],
  ['</s>', 3],
  ['a', 1],
] as const;

test('SentencePiece texts begin with a token of their own, which therefore ends the one before; the end token stays the first', () => {
  expect(ggufStops(metadata('llama', pieces, { bos_token_id: 1, eos_token_id: 2, add_bos_token: true }), 4)).toEqual([2, 1]);
  // The kind alone gives the same ids.
  expect(ggufStops(metadata('llama', pieces, {}), 4)).toEqual([2, 1]);
});

test('a begin token that texts do not begin with, or that is an ordinary token, ends nothing', () => {
  expect(ggufStops(metadata('llama', pieces, { add_bos_token: false }), 4)).toEqual([2]);
  expect(ggufStops(metadata('llama', [pieces[0], ['<s>', 1], pieces[2], pieces[3]], {}), 4)).toEqual([2]);
});

test('in a byte-level vocabulary the begin token may begin a turn: only what the file names ends a reply', () => {
  const chat = [
    ['<|endoftext|>', 3],
    ['<|im_start|>', 3],
    ['<|im_end|>', 3],
    ['x', 1],
  ] as const;
  expect(ggufStops(metadata('gpt2', chat, { bos_token_id: 1, eos_token_id: 2, eot_token_id: 0 }), 4)).toEqual([2, 0]);
});
