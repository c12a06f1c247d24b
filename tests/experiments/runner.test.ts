import { expect, test } from 'vitest';
import { evaluate, extraTokens, longestAnswer, longestTrainAnswer, STEP_TOKENS } from '../../src/experiments/runner.ts';
import type { RowResult } from '../../src/experiments/types.ts';
import { emptyPrompt, STEP_CUE } from '../../src/methods/types.ts';
import { referenceEngine } from '../support/reference-engine.ts';
import { row, sameText, tinyRenderer, tinyRows } from '../support/tiny.ts';

const engine = referenceEngine('models/llama');
const renderer = tinyRenderer();
const shared = { engine, renderer, metric: sameText, prompt: emptyPrompt, longestAnswer: 6 };

test('every row is answered, scored and counted, in the order of the rows', async () => {
  const heard: RowResult[] = [];
  const done: string[] = [];
  const onRow = (result: RowResult, n: number, total: number): void => {
    heard.push(result);
    done.push(`${n} of ${total}`);
  };
  const evaluation = await evaluate({ ...shared, rows: tinyRows, onRow });
  expect(evaluation).toMatchObject({ complete: true, tooLong: [], withoutAnswer: 0 });
  expect(evaluation.results.map((result) => result.exampleId)).toEqual(['a', 'b', 'c', 'd']);
  expect(done).toEqual(['1 of 4', '2 of 4', '3 of 4', '4 of 4']);
  expect(heard).toHaveLength(4);
  for (const [i, result] of evaluation.results.entries()) {
    expect(result.promptTokens).toBe((await renderer.prompt(tinyRows[i].messages)).length);
    expect(result.cut).toBe(result.replyTokens === 6);
    expect(result.score).toBe(0);
  }
});

test('a row whose answer is what the model writes scores 1, and the answer is taken out of the reply', async () => {
  const [first] = (await evaluate({ ...shared, rows: tinyRows })).results;
  const rows = [{ ...tinyRows[0], targets: [first.answer] }];
  expect((await evaluate({ ...shared, rows })).results[0].score).toBe(1);
  const { results } = await evaluate({ ...shared, rows, prompt: { ...emptyPrompt, extract: 'last-line' } });
  expect(results[0].answer).toBe(first.reply.trim().split('\n').at(-1)?.trim());
});

test('rows that leave no room in the context are listed and have no score; rows without an answer are counted', async () => {
  const rows = [row('long', 'word '.repeat(200), 'x'), tinyRows[0], row('open', 'no answer')];
  const { results, tooLong, withoutAnswer, complete } = await evaluate({ ...shared, rows });
  expect(results.map((result) => result.exampleId)).toEqual(['a']);
  expect(tooLong).toMatchObject([{ exampleId: 'long' }]);
  expect(tooLong[0].promptTokens).toBeGreaterThanOrEqual(engine.config.context);
  expect(withoutAnswer).toBe(1);
  expect(complete).toBe(true);
});

test('an abort keeps the rows that are done', async () => {
  const controller = new AbortController();
  const onRow = (_: RowResult, n: number): void => {
    if (n === 2) controller.abort();
  };
  const { results, complete } = await evaluate({ ...shared, rows: tinyRows, signal: controller.signal, onRow });
  expect(results).toHaveLength(2);
  expect(complete).toBe(false);
});

test('the longest answer is 1.5 times the longest in training, 256 more with a cue, and at least 8', () => {
  const rows = [row('a', 'x', 'yes'), row('b', 'y', 'a rather long answer in words')];
  const longest = renderer.tokenizer.encode('a rather long answer in words', { addSpecial: false }).length + 1;
  expect(longestTrainAnswer(renderer, rows)).toBe(longest);
  expect(longestAnswer(renderer, rows, emptyPrompt)).toBe(Math.ceil(1.5 * longest));
  expect(longestAnswer(renderer, rows, { cue: STEP_CUE })).toBe(Math.ceil(1.5 * longest) + STEP_TOKENS);
  expect(longestAnswer(renderer, [], emptyPrompt)).toBe(8);
});

test('extra tokens are what a prompt adds to a call', async () => {
  expect(await extraTokens(renderer, tinyRows, emptyPrompt)).toBe(0);
  const system = { ...emptyPrompt, system: 'Be brief.' };
  const plain = (await renderer.prompt(tinyRows[0].messages)).length;
  const withSystem = (await renderer.prompt([{ role: 'system', content: 'Be brief.' }, ...tinyRows[0].messages])).length;
  expect(await extraTokens(renderer, tinyRows, system)).toBe(withSystem - plain);
  expect(await extraTokens(renderer, [], system)).toBe(withSystem - plain);
});
