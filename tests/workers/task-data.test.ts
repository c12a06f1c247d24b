import { expect, test } from 'vitest';
import { datasetOf } from '../../src/data/split.ts';
import type { Example } from '../../src/data/types.ts';
import { emptyPrompt, STEP_CUE } from '../../src/methods/types.ts';
import { promptFor } from '../../workers/engine/task-data.ts';

const withAnswers = (answer: (i: number) => string) => {
  const rows = Array.from(
    { length: 8 },
    (_, i): Example => ({ id: `${i}`, messages: [{ role: 'user', content: `${i}?` }], targets: [answer(i)] }),
  );
  return { dataset: datasetOf({ id: 't', version: 1, seed: 7, task: 'other', rows, shares: { train: 0.5, validation: 0.5, test: 0 } }) };
};

test('how an answer is taken out of a step-by-step reply follows the training answers there are, not those of another time or task', () => {
  const prompt = { ...emptyPrompt, cue: STEP_CUE, extract: 'last-line' as const };
  expect(promptFor(withAnswers(String), prompt).extract).toBe('last-number');
  expect(
    promptFor(
      withAnswers((i) => `number ${i}`),
      { ...prompt, extract: 'last-number' },
    ).extract,
  ).toBe('after-answer-mark');
});

test('a prompt without a cue keeps the way that it says', () => {
  expect(promptFor(withAnswers(String), { ...emptyPrompt, extract: 'last-line' }).extract).toBe('last-line');
});
