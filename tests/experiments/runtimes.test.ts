// Two runtimes on one board, and another one than our engine that answers rows.
import { expect, test } from 'vitest';
import { type BoardContestant, buildBoard, byRuntime } from '../../src/experiments/board.ts';
import { evaluate } from '../../src/experiments/runner.ts';
import type { RowResult, Runtime } from '../../src/experiments/types.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import { exactMatch } from '../../src/metrics/exact-match.ts';

const shares = { train: 0.5, validation: 0.5, test: 0 };
const under = { metricId: exactMatch.id, modelId: 'm', datasetVersion: 1, splitSeed: 7, shares, longestAnswer: 12 };
const IDS = Array.from({ length: 12 }, (_, i) => `r${i}`);
const rows = (ones: number): RowResult[] =>
  IDS.map((exampleId, i) => ({ exampleId, reply: '', answer: '', score: i < ones ? 1 : 0, promptTokens: 4, replyTokens: 2, cut: false }));
const cost = { seconds: 0, peakBytes: 0, tokens: 0, extraTokensPerCall: 0, bytesToShip: 0 };
const who = (id: string, method: string): BoardContestant => ({
  ...{ id, name: id, method, prompt: emptyPrompt, cost, modelId: 'm' },
  ...{ afterTestOpened: false, chosenOnValidation: false, imported: false },
});

function boardOf(base: Runtime | undefined, lora: Runtime | undefined) {
  const result = (ones: number, runtime: Runtime | undefined) => ({ ...under, rows: rows(ones), complete: true, seconds: 1, runtime });
  return buildBoard({
    ...{ taskId: 't', split: 'validation', metric: exactMatch, contestants: [who('base', 'base'), who('LoRA', 'lora')] },
    results: new Map([
      ['base', result(2, base)],
      ['LoRA', result(11, lora)],
    ]),
    ...{ now: under, longestAnswer: () => 12, exampleIds: IDS, seed: 7, mark: (method: string) => method },
  });
}

test('every score says what answered; results without a runtime are older ones of our engine', () => {
  const { rows: shown } = boardOf(undefined, 'webllm');
  expect(Object.fromEntries(shown.map(({ name, score }) => [name, score?.runtime]))).toEqual({ base: 'engine', LoRA: 'webllm' });
});

test('a verdict across two runtimes is marked, one within a runtime is not, and the finding says it', () => {
  for (const [base, lora, mixed] of [
    ['engine', 'webllm', true],
    ['webllm', 'engine', true],
    [undefined, 'webllm', true],
    ['webllm', 'webllm', false],
    [undefined, 'engine', false],
  ] as const) {
    const board = boardOf(base, lora);
    const against = board.rows.find(({ name }) => name === 'LoRA')?.againstBase;
    expect(against?.verdict).toBe('better');
    expect(against?.acrossRuntimes, `${base} against ${lora}`).toBe(mixed ? true : undefined);
    expect(board.finding.endsWith('They were answered by two runtimes.')).toBe(mixed);
  }
});

test('scores of two runtimes both stand: the chosen one is compared, the other is named, and a stale one is not', () => {
  const at = (ones: number, runtime: Runtime | undefined, measuredAt: number, version = 1) => ({
    ...{ ...under, datasetVersion: version, rows: rows(ones), complete: true, seconds: 1, measuredAt },
    ...(runtime === undefined ? {} : { runtime }),
  });
  const all = { base: [at(2, undefined, 1), at(3, 'webllm', 2)], LoRA: [at(9, 'webllm', 1), at(11, 'engine', 4), at(10, 'webllm', 3)] };
  const boardBy = (chosen: Runtime, results: Readonly<Record<string, readonly ReturnType<typeof at>[]>>) => {
    const placed = (place: number) =>
      new Map(
        Object.entries(results).flatMap(([id, own]) => {
          const result = byRuntime(own, chosen)[place];
          return result === undefined ? [] : [[id, result] as const];
        }),
      );
    const { rows: shown } = buildBoard({
      ...{ taskId: 't', split: 'validation', metric: exactMatch, contestants: [who('base', 'base'), who('LoRA', 'lora')] },
      ...{ results: placed(0), others: placed(1), now: under, longestAnswer: () => 12, exampleIds: IDS, seed: 7 },
      mark: (method: string) => method,
    });
    return shown.map(({ name, score, otherScore, againstBase }) => [
      name,
      ...[score, otherScore].map((one) => one && `${Math.round(one.mean * 12)} by ${one.runtime}`),
      againstBase?.acrossRuntimes,
    ]);
  };
  expect(boardBy('engine', all)).toEqual([
    ['LoRA', '11 by engine', '10 by webllm', undefined],
    ['base', '2 by engine', '3 by webllm', undefined],
  ]);
  expect(boardBy('webllm', all)).toEqual([
    ['LoRA', '10 by webllm', '11 by engine', undefined],
    ['base', '3 by webllm', '2 by engine', undefined],
  ]);
  // One that was answered by the other alone stands there all the same, and a verdict across them is marked.
  expect(boardBy('engine', { base: all.base, LoRA: [at(10, 'webllm', 3)] })[0]).toEqual(['LoRA', '10 by webllm', undefined, true]);
  const stale = { base: all.base, LoRA: [at(11, 'engine', 4), at(10, 'webllm', 3, 0)] };
  expect(boardBy('engine', stale)[0]).toEqual(['LoRA', '11 by engine', undefined, undefined]);
});

test('rows are answered by whoever generates, one after the other, and an abort keeps what is done', async () => {
  const controller = new AbortController();
  const asked: number[] = [];
  const { results, complete } = await evaluate({
    engine: {
      config: { context: 4 },
      async *generateMany(prompts, { stopIds }, _patch, signal) {
        for (const [row, prompt] of prompts.entries()) {
          if (signal?.aborted === true) return;
          asked.push(prompt.length);
          yield { row, tokens: Uint32Array.from([65 + row, stopIds[0]]) };
        }
      },
    },
    renderer: {
      tokenizer: {
        ...{ vocabSize: 128, specialIds: new Set<number>(), encode: () => new Uint32Array(1), plain: (text: string) => text },
        decode: (ids) => String.fromCharCode(...Array.from(ids)),
        tokenText: (id) => String.fromCharCode(id),
      },
      ...{ stopIds: [0], hasTemplate: false, prompt: async (messages) => new Uint32Array(messages[0].content.length) },
      withAnswer: () => Promise.reject(new Error('not asked for')),
    },
    metric: exactMatch,
    rows: ['a', 'bb', 'cccc', 'ddd'].map((content, i) => ({ id: `r${i}`, messages: [{ role: 'user', content }], targets: ['A'] })),
    prompt: emptyPrompt,
    longestAnswer: 3,
    signal: controller.signal,
    onRow: (_, done) => {
      if (done === 2) controller.abort();
    },
  });
  // The row of 4 tokens has no room in a context of 4; the last one was not asked any more.
  expect(asked).toEqual([1, 2]);
  expect(results.map(({ answer, score }) => [answer, score])).toEqual([
    ['A', 1],
    ['B', 0],
  ]);
  expect(complete).toBe(false);
});
