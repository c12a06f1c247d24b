// Answers to pinned prompts that a run keeps, to compare with when its base is held otherwise, and the words for what comes of it.
import { expect, test } from 'vitest';
import type { StorageChoice } from '../../src/rpc/contract.ts';
import type { RunRecord } from '../../src/storage/types.ts';
import { differenceWords } from '../../src/ui/storage-words.ts';
import { answeredThen } from '../../workers/engine/held-difference.ts';

const user = (content: string) => [{ role: 'user', content }] as const;
const pinned = [
  { name: 'a', messages: user('A?') },
  { name: 'b', messages: user('B?') },
];
const sample = (step: number, name: string): RunRecord['samples'][number] => ({ step, name, text: `${name} at ${step}` });
const samples = [sample(0, 'a'), sample(0, 'b'), sample(4, 'a'), sample(4, 'b'), sample(8, 'a'), sample(8, 'b')];

test('compared are the answers of the state that was kept: the best one, or the last where nothing chose', () => {
  expect(answeredThen({ samples, pinned, best: { step: 4, score: 1 } }).map(({ text }) => text)).toEqual(['a at 4', 'b at 4']);
  expect(answeredThen({ samples, pinned }).map(({ text }) => text)).toEqual(['a at 8', 'b at 8']);
  expect(answeredThen({ samples: samples.slice(0, 5), pinned, best: { step: 8, score: 1 } }).map(({ text }) => text)).toEqual(['a at 8']);
  expect(answeredThen({ samples })).toEqual([]);
});

test('the difference is said in numbers', () => {
  const choice = (storage: StorageChoice['storage'], types: string): StorageChoice => ({
    ...{ storage, types, exact: storage === 'f32', weightBytes: 1, chatBytes: 2, trainBytes: 3, recommended: false },
  });
  const said = (answers: readonly (readonly [string, string])[]): string =>
    differenceWords({
      runtime: 'engine',
      trainedOn: choice('f32', 'F32'),
      heldNow: choice('4-bit', 'Q4_1 and Q8_0'),
      pinned: answers.map(([was, now]) => ({ name: 'x', was, now })),
    });
  const there = { runtime: 'webllm', trainedOn: choice('8-bit', 'Q8_0'), heldNow: choice('f32', 'F32') } as const;
  expect(differenceWords({ ...there, pinned: [{ name: 'x', was: 'a', now: 'b' }] })).toBe(
    'Trained on 8-bit (Q8_0), and web-llm runs it as Exact floats (F32): 1 of 1 pinned prompt is answered differently.',
  );
  const start = 'Trained on Exact floats (F32), and the model is held as 4-bit (Q4_1 and Q8_0) now';
  expect(said([])).toBe(`${start}. No pinned prompt was kept to measure what that changes.`);
  expect(said([['a', 'a']])).toBe(`${start}: none of 1 pinned prompt is answered differently.`);
  expect(
    said([
      ['a', 'b'],
      ['c', 'c'],
      ['d', 'e'],
    ]),
  ).toBe(`${start}: 2 of 3 pinned prompts are answered differently.`);
});
