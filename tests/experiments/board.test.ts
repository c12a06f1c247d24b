import { expect, test } from 'vitest';
import { type BoardContestant, type BoardOptions, type BoardResult, buildBoard } from '../../src/experiments/board.ts';
import { compareExamples, compareTwo, pairedComparison } from '../../src/experiments/compare.ts';
import type { RowResult } from '../../src/experiments/types.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import type { Metric } from '../../src/metrics/types.ts';

const passes: Metric = {
  id: 'exact-match',
  name: 'Exact match',
  summary: '',
  better: 'higher',
  binary: true,
  source: { label: 'SQuAD' },
  score: () => 0,
};
const graded: Metric = { ...passes, id: 'token-f1', binary: false };

function results(scores: readonly number[], cut = false): RowResult[] {
  return scores.map((score, i) => ({ exampleId: `r${i}`, reply: '', answer: '', score, promptTokens: 4, replyTokens: 2, cut }));
}
/** `ones` rows passed from row `from` on, of n. */
function passed(n: number, ones: number, from = 0): RowResult[] {
  return results(Array.from({ length: n }, (_, i) => (i >= from && i < from + ones ? 1 : 0)));
}
function contestant(id: string, method: string, more: Partial<BoardContestant> = {}): BoardContestant {
  const cost = { seconds: 0, peakBytes: 0, tokens: 0, extraTokensPerCall: 0, bytesToShip: 0 };
  return {
    ...{ id, name: id, method, prompt: emptyPrompt, cost, modelId: 'm' },
    ...{ afterTestOpened: false, chosenOnValidation: false, imported: false, ...more },
  };
}
const shares = { train: 0.6, validation: 0.2, test: 0.2 };
function result(rows: readonly RowResult[], more: Partial<BoardResult> = {}): BoardResult {
  const under = { metricId: 'exact-match', modelId: 'm', datasetVersion: 1, splitSeed: 7, shares, longestAnswer: 12 };
  return { ...under, rows, complete: true, seconds: 2, ...more };
}
function options(
  contestants: readonly BoardContestant[],
  all: Record<string, BoardResult>,
  n: number,
  more: Partial<BoardOptions> = {},
): BoardOptions {
  return {
    ...{ taskId: 't', split: 'validation', metric: passes, contestants, results: new Map(Object.entries(all)) },
    now: { metricId: 'exact-match', modelId: 'm', datasetVersion: 1, splitSeed: 7, shares },
    longestAnswer: () => 12,
    exampleIds: Array.from({ length: n }, (_, i) => `r${i}`),
    seed: 7,
    mark: (method) => method,
    ...more,
  };
}

test('7 won and 3 lost is p = .34, 15 and 5 is .041, nothing won or lost is 1', () => {
  const before = results([...Array(7).fill(0), ...Array(3).fill(1), 1, 0]);
  const after = results([...Array(7).fill(1), ...Array(3).fill(0), 1, 0]);
  const paired = compareTwo(before, after, passes, 1);
  expect(paired).toMatchObject({ wins: 7, losses: 3, ties: 2, verdict: 'cannot-tell' });
  expect(paired.p).toBeCloseTo(0.34375, 10);
  const more = compareTwo(
    results([...Array(15).fill(0), ...Array(5).fill(1)]),
    results([...Array(15).fill(1), ...Array(5).fill(0)]),
    passes,
    1,
  );
  expect(more.p).toBeCloseTo(0.0414, 4);
  expect(more.verdict).toBe('better');
  expect(pairedComparison(before, before, passes, 1).p).toBe(1);
});

test('only rows that both answered are compared, and a metric that wants to be low turns the verdict', () => {
  const before = results(Array(9).fill(3));
  const after = results(Array(9).fill(1)).slice(0, 8);
  const paired = compareTwo(before, after, { binary: false, better: 'lower' }, 1);
  expect(paired).toMatchObject({ wins: 8, losses: 0, ties: 0, verdict: 'better' });
  expect(compareTwo(before, after, { binary: false, better: 'higher' }, 1).verdict).toBe('worse');
});

test('a contestant against itself is never called different', () => {
  const random = seededRandom(3);
  for (let round = 0; round < 40; round++) {
    for (const metric of [passes, graded]) {
      const rows = results(Array.from({ length: 20 }, () => (metric.binary ? random.below(2) : random.next())));
      const board = buildBoard(
        options(
          [contestant('Base', 'base'), contestant('Copy', 'prompt')],
          { Base: result(rows, { metricId: metric.id }), Copy: result(rows, { metricId: metric.id }) },
          20,
          {
            metric,
            now: { metricId: metric.id, modelId: 'm', datasetVersion: 1, splitSeed: 7, shares },
          },
        ),
      );
      expect(board.comparisons).toBe(1);
      for (const row of board.rows) if (row.againstBase) expect(row.againstBase).toMatchObject({ p: 1, holmP: 1, verdict: 'cannot-tell' });
      expect(board.finding).toMatch(/^20 rows cannot tell/);
    }
  }
});

test('contestants that differ by chance alone are called different in at most 5 of 100 boards', () => {
  const random = seededRandom(11);
  const boards = 300;
  let different = 0;
  for (let i = 0; i < boards; i++) {
    const noise = (): BoardResult => result(results(Array.from({ length: 30 }, () => random.below(2))));
    const ids = ['a', 'b', 'c', 'd'];
    const board = buildBoard(
      options(
        [contestant('Base', 'base'), ...ids.map((id) => contestant(id, 'prompt'))],
        { Base: noise(), a: noise(), b: noise(), c: noise(), d: noise() },
        30,
      ),
    );
    if (board.rows.some((row) => row.againstBase !== undefined && row.againstBase.verdict !== 'cannot-tell')) different++;
  }
  expect(different / boards).toBeLessThanOrEqual(0.05);
});

test('the board of the drawing: order, intervals, Holm, brackets and the finding', () => {
  // Nested passes, so that a pair differs by the gap between their counts: 18, 15, 14, 13 and 2 of 20.
  const names = ['LoRA', 'Searched', 'IA3', 'Shots'];
  const counts = [18, 15, 14, 13];
  const all: Record<string, BoardResult> = { Base: result(passed(20, 2)) };
  names.forEach((name, i) => {
    all[name] = result(passed(20, counts[i]));
  });
  const contestants = [
    contestant('Base', 'base'),
    ...names.map((name) => contestant(name, name === 'LoRA' ? 'lora' : 'prompt')),
    contestant('New', 'prompt'),
  ];
  const board = buildBoard(options(contestants, all, 20));
  expect(board.rows.map((row) => row.name)).toEqual(['LoRA', 'Searched', 'IA3', 'Shots', 'Base', 'New']);
  expect(board.rows[0]).toMatchObject({ passed: 18, score: { mean: 0.9, n: 20 }, tokensPerSecond: 20, state: 'done' });
  expect(board.rows[0].score?.low).toBeCloseTo(0.699, 3);
  expect(board.rows[0].score?.high).toBeCloseTo(0.972, 3);
  // 16, 13, 12 and 11 won, none lost: p = 2^-15 ... 2^-10, times 4, 3, 2, 1.
  const expected = [2 ** -15 * 4, 2 ** -12 * 3, 2 ** -11 * 2, 2 ** -10];
  expected.forEach((p, i) => {
    expect(board.rows[i].againstBase?.holmP).toBeCloseTo(p, 12);
  });
  expect(board.comparisons).toBe(4);
  // LoRA against Shots: 5 won, 0 lost, p = .0625; the four are one run, Base is apart.
  expect(board.brackets).toEqual([{ first: 0, last: 3, lane: 0 }]);
  expect(board.finding).toBe('LoRA leads, but 20 rows cannot separate it from three others.');
  const unmeasured = board.rows[5];
  expect(unmeasured.state).toBe('none');
  expect(unmeasured).not.toHaveProperty('score');
  expect(unmeasured).not.toHaveProperty('passed');
  expect(unmeasured).not.toHaveProperty('tokensPerSecond');
});

test('findings: nothing, Base alone, two, a clear lead, a shared lead, no difference', () => {
  const base = contestant('Base', 'base');
  const find = (counts: Record<string, number>, n = 20): string => {
    const contestants = [
      base,
      ...Object.keys(counts)
        .filter((name) => name !== 'Base')
        .map((name) => contestant(name, 'prompt')),
    ];
    return buildBoard(options(contestants, Object.fromEntries(Object.entries(counts).map(([name, k]) => [name, result(passed(n, k))])), n))
      .finding;
  };
  expect(find({})).toBe('Nothing is measured yet on the 20 rows of validation.');
  expect(find({}, 0)).toBe('There are no validation rows with an answer to measure on.');
  expect(find({ Base: 3 })).toBe('Base answers 3 of 20 rows right. Nothing else is measured yet.');
  expect(find({ Base: 2, LoRA: 18 })).toBe('LoRA is better than Base: 18 of 20 against 2 of 20 (p < .001).');
  expect(find({ Base: 5, Short: 4 })).toBe('20 rows cannot tell Base from Short: 5 of 20 against 4 of 20 (p = 1.00).');
  expect(find({ Base: 0, Short: 8, LoRA: 18 })).toBe('LoRA leads with 18 of 20, and 20 rows separate it from every other.');
  expect(find({ Base: 0, Short: 18, LoRA: 18 })).toBe('Short and one other share the lead, but 20 rows cannot separate Short from LoRA.');
  expect(find({ Base: 3, Short: 4, LoRA: 5 })).toBe('20 rows cannot tell these 3 contestants apart.');
});

test('a stale result keeps its numbers, says why, and is compared with nothing', () => {
  const contestants = [contestant('Base', 'base'), contestant('Old', 'prompt')];
  const all = { Base: result(passed(20, 2)), Old: result(passed(20, 18), { datasetVersion: 0 }) };
  const board = buildBoard(options(contestants, all, 20));
  expect(board.rows.map((row) => row.name)).toEqual(['Base', 'Old']);
  expect(board.rows[1]).toMatchObject({ state: 'stale', notes: ['measured before the rows changed'], score: { n: 20 } });
  expect(board.rows[1]).not.toHaveProperty('againstBase');
  expect(board.comparisons).toBe(0);
  const reason = (more: Partial<BoardResult>): string => {
    const rows = buildBoard(options([contestant('Base', 'base')], { Base: result(passed(20, 2), more) }, 20)).rows;
    return rows[0].notes.join();
  };
  expect(reason({ modelId: 'other' })).toBe('measured with another model');
  expect(reason({ metricId: 'token-f1' })).toBe('measured by another score');
  expect(reason({ splitSeed: 8 })).toBe('measured on another split of the rows');
  expect(reason({ shares: { train: 0.5, validation: 0.5, test: 0 } })).toBe('measured on another split of the rows');
  expect(reason({ longestAnswer: 13 })).toBe('measured with another longest answer');
});

test('what a reader must know stands beside the row', () => {
  const contestants = [
    contestant('Base', 'base'),
    contestant('LoRA', 'lora', { chosenOnValidation: true, config: { rank: 8 } }),
    contestant('Late', 'prompt', { afterTestOpened: true, prompt: { ...emptyPrompt, system: 'Be brief.', cue: 'Think.' } }),
  ];
  const cut = results([1, 0, 0], true).map((row, i) => ({ ...row, cut: i > 0, replyTokens: [2, 12, 5][i] }));
  const all = { Base: result(passed(5, 1)), LoRA: result(passed(4, 2)), Late: result(cut, { complete: false }) };
  const row = (name: string, split: 'validation' | 'test') =>
    buildBoard(options(contestants, all, 5, { split, testOpenedAt: 1 })).rows.find((r) => r.name === name);
  expect(row('LoRA', 'validation')?.notes).toEqual([
    'checkpoint chosen on these rows',
    '1 of 5 rows do not fit the context and were not answered',
  ]);
  expect(row('LoRA', 'test')?.notes).not.toContain('checkpoint chosen on these rows');
  expect(row('LoRA', 'test')?.subtitle).toBe('small add-on weights, rank 8');
  const late = row('Late', 'test');
  expect(late).toMatchObject({ state: 'partial', mark: 'cot', subtitle: 'system prompt, step by step', cutReplies: 2 });
  expect(late?.notes).toEqual([
    'made after the test was opened',
    '1 of 3 replies cut at 12 tokens',
    '1 of 3 replies cut where the model’s context ends',
    'measured on 3 of 5 rows',
  ]);
});

test('examples come fixed, broken, the same; graded ones by the size of the change', () => {
  const rows = Array.from({ length: 4 }, (_, i) => ({
    example: { id: `r${i}`, messages: [{ role: 'user', content: `in ${i}` } as const], targets: ['x'] },
    number: i + 1,
  }));
  const binary = compareExamples(results([1, 0, 1]), results([1, 1, 0, 1]), rows, passes);
  expect(binary.map((c) => [c.rowNumber, c.change])).toEqual([
    [2, 'fixed'],
    [3, 'broken'],
    [1, 'same'],
    [4, 'same'],
  ]);
  expect(binary[3]).not.toHaveProperty('before');
  const scores = compareExamples(results([0.5, 0.5, 0.5, 0.5]), results([0.6, 0.9, 0.1, 0.5]), rows, graded);
  expect(scores.map((c) => [c.rowNumber, c.change])).toEqual([
    [2, 'better'],
    [1, 'better'],
    [3, 'worse'],
    [4, 'same'],
  ]);
});

test('rows that were answered by the model held in two ways are marked, and so is the comparison; one way is not spoken of', () => {
  const f32 = { key: 'exact', words: 'F32' };
  const q8 = { key: '8-bit', words: 'Q8_0' };
  const people = [contestant('Base', 'base'), contestant('Prompt', 'prompt'), contestant('LoRA', 'lora')];
  const all = (lora: BoardResult['held']) => ({
    Base: result(passed(20, 4), { held: f32 }),
    Prompt: result(passed(20, 6), { held: f32 }),
    LoRA: result(passed(20, 18), { held: lora }),
  });
  const mixed = buildBoard(options(people, all(q8), 20));
  const notes = (name: string) => mixed.rows.find((row) => row.name === name)?.notes;
  expect(notes('LoRA')).toEqual(['model held as Q8_0, Base as F32: not like with like']);
  expect(notes('Prompt')).toEqual(['model held as F32']);
  expect(mixed.finding).toMatch(/ The model was held in 2 ways while they were measured\.$/);
  const alike = buildBoard(options(people, all({ key: 'exact', words: 'F32' }), 20));
  expect(alike.rows.flatMap((row) => row.notes)).toEqual([]);
  expect(alike.finding).not.toContain('held');
});

test('weights from elsewhere say that the rows they were trained on are not known; words from elsewhere have met none but their shots', () => {
  const rows = passed(8, 4);
  const unknown = { trained: 0, shown: 0, chosen: undefined };
  const contestants = [
    contestant('Base', 'base'),
    contestant('weights', 'lora', { imported: true }),
    contestant('words', 'prompt', { imported: true }),
    contestant('own', 'lora'),
  ];
  const all = Object.fromEntries(contestants.map(({ id }) => [id, result(rows)]));
  const met = new Map(contestants.map(({ id }) => [id, id === 'own' ? { ...unknown, chosen: 0 } : unknown]));
  const board = buildBoard(options(contestants, all, 8, { met }));
  const notes = (name: string): readonly string[] => board.rows.find((row) => row.name === name)?.notes ?? [];
  expect(notes('weights')).toEqual(['imported: which rows it was trained on is not known, these may be among them']);
  expect(notes('words')).toEqual(['imported']);
  expect(notes('own')).toEqual([]);
});
