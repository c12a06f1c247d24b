import { expect, test } from 'vitest';
import { datasetOf } from '../../src/data/split.ts';
import type { Example } from '../../src/data/types.ts';
import { type BoardContestant, type BoardOptions, type BoardResult, buildBoard } from '../../src/experiments/board.ts';
import { metIn, seenOf } from '../../src/experiments/seen.ts';
import type { Seen } from '../../src/experiments/types.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import { metricById } from '../../src/metrics/registry.ts';

const rows: readonly Example[] = Array.from({ length: 40 }, (_, i) => ({
  id: `r${i}`,
  messages: [{ role: 'user', content: `Question ${i}?` }],
  targets: ['yes'],
}));
const shares = { train: 0.5, validation: 0.25, test: 0.25 };
const split = (seed: number, of = rows) => datasetOf({ id: 't', version: 1, seed, task: 'other' as const, rows: of, shares });
const words = { prompt: emptyPrompt };

test('rows of the own split were not met; after another split those that changed sides are counted, one by one', () => {
  const first = split(7);
  const seen = seenOf(first);
  expect(metIn(first.validation, { ...words, seen })).toEqual({ trained: 0, shown: 0, chosen: first.validation.length });
  expect(metIn(first.test, { ...words, seen })).toEqual({ trained: 0, shown: 0, chosen: 0 });
  const second = split(8);
  const trained = new Set(first.train.map(({ id }) => id));
  const crossed = second.validation.filter(({ id }) => trained.has(id)).length;
  expect(crossed).toBeGreaterThan(0);
  expect(metIn(second.validation, { ...words, seen }).trained).toBe(crossed);
});

test('rows added later move others over the edge, and a row written with other capitals is the same row', () => {
  let moved = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const before = split(seed, rows.slice(0, 12));
    const after = split(seed);
    const trained = new Set(before.train.map(({ id }) => id));
    const crossed = [...after.validation, ...after.test].filter(({ id }) => trained.has(id));
    moved += crossed.length;
    const shouted = crossed.map(
      (row): Example => ({ ...row, id: `${row.id}-2`, messages: [{ role: 'user', content: row.messages[0].content.toUpperCase() }] }),
    );
    expect(metIn(shouted, { ...words, seen: seenOf(before) }).trained).toBe(crossed.length);
  }
  expect(moved).toBeGreaterThan(0);
});

test('shots are met wherever they came from; of weights from elsewhere nothing is known', () => {
  const { validation } = split(7);
  expect(metIn(validation, { prompt: { ...emptyPrompt, shots: validation.slice(0, 2) } })).toMatchObject({ shown: 2, chosen: undefined });
  expect(metIn(validation, words)).toEqual({ trained: 0, shown: 0, chosen: undefined });
});

test('a contestant that has met rows it is scored on keeps its score, says so, and is compared with nothing', () => {
  const { validation } = split(8);
  const seen: Seen = seenOf(split(7));
  const cost = { seconds: 0, peakBytes: 0, tokens: 0, extraTokensPerCall: 0, bytesToShip: 0 };
  const of = (name: string, method: string, chosenOnValidation = false): BoardContestant => ({
    ...{ id: name, name, method, prompt: emptyPrompt, cost, modelId: 'm' },
    ...{ afterTestOpened: false, chosenOnValidation, imported: false },
  });
  const under = { metricId: 'exact-match', modelId: 'm', datasetVersion: 1, splitSeed: 8, shares, longestAnswer: 12 };
  const answered = (score: number): BoardResult => ({
    ...under,
    rows: validation.map(({ id }) => ({ exampleId: id, reply: '', answer: '', score, promptTokens: 4, replyTokens: 2, cut: false })),
    complete: true,
    seconds: 1,
  });
  const options: BoardOptions = {
    ...{ taskId: 't', split: 'validation', metric: metricById('exact-match') },
    contestants: [of('Base', 'base'), of('LoRA', 'lora', true)],
    results: new Map([
      ['Base', answered(0)],
      ['LoRA', answered(1)],
    ]),
    now: under,
    longestAnswer: () => 12,
    exampleIds: validation.map(({ id }) => id),
    met: new Map([['LoRA', metIn(validation, { ...words, seen })]]),
    seed: 7,
    mark: (method) => method,
  };
  const board = buildBoard(options);
  const lora = board.rows.find(({ name }) => name === 'LoRA');
  expect(lora).toMatchObject({ state: 'done', unfair: true, score: { mean: 1, n: 10 } });
  expect(lora?.notes[0]).toMatch(/^trained on \d of these 10 rows$/);
  expect(lora?.notes[1]).toMatch(/^checkpoint chosen on \d of these rows$/);
  expect(lora).not.toHaveProperty('againstBase');
  expect(board.comparisons).toBe(0);
  expect(board.finding).toBe('Base answers 0 of 10 rows right. What else is measured has met these rows before.');
  // On its own split it is compared as any other.
  const fair = buildBoard({ ...options, met: new Map([['LoRA', { trained: 0, shown: 0, chosen: 10 }]]) });
  expect(fair.rows[0]).toMatchObject({ name: 'LoRA', againstBase: { verdict: 'better' }, notes: ['checkpoint chosen on these rows'] });
});
