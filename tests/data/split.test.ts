import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dataFindings } from '../../src/data/dataset.ts';
import { inputKey, versionHash, withIds } from '../../src/data/rows.ts';
import {
  datasetOf,
  HALVES,
  powerNote,
  powerOf,
  proposeShares,
  rowsForClearWin,
  splitRows,
  USUAL_SHARES,
  winsNeeded,
} from '../../src/data/split.ts';
import type { Example } from '../../src/data/types.ts';

const rowsOf = (pairs: readonly (readonly [string, ...string[]])[]): Example[] =>
  withIds(pairs.map(([input, ...targets]) => ({ messages: [{ role: 'user', content: input }], targets })));
const many = (n: number): Example[] => rowsOf(Array.from({ length: n }, (_, i) => [`question ${i}`, `answer ${i}`]));
const ids = (rows: readonly Example[]): string[] => rows.map(({ id }) => id);

describe('splitRows', () => {
  it('gives 60, 20 and 20 of 100, in their own order, the same for the same seed and others for another', () => {
    const rows = many(100);
    const split = splitRows(rows, 7, USUAL_SHARES);
    expect([split.train.length, split.validation.length, split.test.length]).toEqual([60, 20, 20]);
    expect(splitRows(rows, 7, USUAL_SHARES)).toEqual(split);
    expect(ids(splitRows(rows, 8, USUAL_SHARES).train)).not.toEqual(ids(split.train));
    expect(ids(split.train)).toEqual(ids(rows.filter((row) => split.train.includes(row))));
  });
  it('gives halves and no test where there are few', () => {
    const split = splitRows(many(12), 1, proposeShares(12));
    expect([split.train.length, split.validation.length, split.test.length]).toEqual([6, 6, 0]);
    expect(proposeShares(59)).toEqual(HALVES);
    expect(proposeShares(60)).toEqual(USUAL_SHARES);
  });
  it('uses each row once, keeps what asks the same on one side, and leaves rows without an answer out', () => {
    const row = fc
      .tuple(fc.constantFrom('a', 'A ', 'b', 'c', 'd  e', 'D e', 'f', 'g', 'h'), fc.constantFrom('x', 'y', ''))
      .map(([input, answer]): readonly [string, ...string[]] => (answer === '' ? [input] : [input, answer]));
    fc.assert(
      fc.property(fc.array(row, { maxLength: 40 }), fc.integer(), fc.constantFrom(USUAL_SHARES, HALVES), (pairs, seed, shares) => {
        const rows = rowsOf(pairs);
        const { train, validation, test, unused } = splitRows(rows, seed, shares);
        expect(ids([...train, ...validation, ...test, ...unused]).sort()).toEqual(ids(rows).sort());
        expect(unused.every(({ targets }) => targets.length === 0)).toBe(true);
        const sides = [train, validation, test].map((side) => new Set(side.map(inputKey)));
        for (const key of sides[0]) expect(sides[1].has(key) || sides[2].has(key)).toBe(false);
        for (const key of sides[1]) expect(sides[2].has(key)).toBe(false);
        if (shares.test === 0) expect(test).toHaveLength(0);
      }),
    );
  });
  it('moves few rows when one is added', () => {
    fc.assert(
      fc.property(fc.integer({ min: 20, max: 120 }), fc.integer(), (n, seed) => {
        const rows = many(n + 1);
        const before = splitRows(rows.slice(0, n), seed, USUAL_SHARES);
        const after = splitRows(rows, seed, USUAL_SHARES);
        const moved = (['train', 'validation', 'test'] as const).flatMap((side) =>
          before[side].filter((row) => !after[side].includes(row)),
        );
        expect(moved.length).toBeLessThanOrEqual(3);
      }),
      { numRuns: 50 },
    );
  });
  it('keeps a row for validation and for the test where there are rows enough', () => {
    const split = splitRows(many(3), 1, USUAL_SHARES);
    expect([split.train.length, split.validation.length, split.test.length]).toEqual([1, 1, 1]);
    expect(splitRows([], 1, USUAL_SHARES).train).toEqual([]);
    expect(splitRows(many(1), 1, HALVES).train).toHaveLength(1);
  });
  it('is what a dataset is made of', () => {
    const rows = many(10);
    const { train, validation, test } = splitRows(rows, 3, HALVES);
    expect(datasetOf({ id: 'd', version: 2, seed: 3, task: 'other', rows, shares: HALVES })).toEqual({
      id: 'd',
      version: 2,
      seed: 3,
      task: 'other',
      train,
      validation,
      test,
    });
  });
});

describe('how many rows prove a win', () => {
  it('needs six wins against none, eight against... as the exact sign test says', () => {
    expect([0, 1, 2, 3].map(winsNeeded)).toEqual([6, 8, 10, 12]);
  });
  it('has the power that experiments have', () => {
    let found = 0;
    let state = 1;
    const uniform = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 4294967296;
    };
    for (let run = 0; run < 4000; run++) {
      let wins = 0;
      let losses = 0;
      for (let i = 0; i < 60; i++) {
        const u = uniform();
        if (u < 0.25) wins++;
        else if (u < 0.3) losses++;
      }
      if (wins > losses && wins >= winsNeeded(losses)) found++;
    }
    expect(Math.abs(found / 4000 - powerOf(60, 0.25, 0.05))).toBeLessThan(0.03); // 4 standard errors
  });
  it('is near the formula of Miettinen and Connor for a difference of 0.20, a little more since the exact test is careful', () => {
    const psi = 0.3;
    const n = (1.95996 * Math.sqrt(psi) + 0.84162 * Math.sqrt(psi - 0.04)) ** 2 / 0.04;
    expect(rowsForClearWin()).toBeGreaterThan(n);
    expect(rowsForClearWin()).toBeLessThan(1.25 * n);
    expect(powerOf(rowsForClearWin(), 0.25, 0.05)).toBeGreaterThanOrEqual(0.8);
    expect(rowsForClearWin(0.4)).toBeLessThan(rowsForClearWin(0.2));
  });
  it('is said in one sentence', () => {
    expect(powerNote(4, HALVES)).toMatch(/^4 validation rows cannot prove a win/);
    expect(powerNote(20, HALVES)).toMatch(
      /^With 20 validation rows a win is clear when six are fixed and none is broken; .* \d+ rows in all\.$/,
    );
    expect(powerNote(500, USUAL_SHARES)).toMatch(/^500 validation rows are enough/);
  });
});

describe('dataFindings', () => {
  const rows = rowsOf([
    ['good day', 'pos'],
    ['good day', 'pos'],
    ['Good  day', 'pos'],
    ['bad day', 'neg'],
    ['bad day', 'pos'],
    ['no answer here'],
    ['this is a neg message', 'neg'],
  ]);
  it('finds copies, near copies, conflicts, rows without an answer and answers in their input', () => {
    const found = dataFindings(rows, 'classification', () => 'train');
    expect(found.map(({ severity, code, rowIds }) => [severity, code, rowIds.length])).toEqual([
      ['warn', 'data/conflict', 2],
      ['warn', 'data/copies', 1],
      ['note', 'data/near-copies', 1],
      ['warn', 'data/no-answer', 1],
      ['note', 'data/answer-in-input', 1],
    ]);
    expect(found[0].text).toBe('1 input has different answers (rows 4 and 5).');
  });
  it('calls a row on two sides bad, and says nothing of clean rows', () => {
    const found = dataFindings(rows, 'other', (id) => (id === rows[0].id ? 'train' : 'validation'));
    expect(found[0]).toMatchObject({ severity: 'bad', code: 'data/both-sides', rowIds: [rows[0].id, rows[1].id, rows[2].id] });
    expect(dataFindings(many(5), 'other', () => 'train')).toEqual([]);
    expect(dataFindings(rowsOf([['Oren keeps the mill. Who?', 'Oren']]), 'question-answering', () => 'train')).toEqual([]);
  });
  it('gives the same version hash to the same rows only', () => {
    expect(versionHash(many(5))).toBe(versionHash(many(5)));
    expect(versionHash(many(5))).not.toBe(versionHash(many(6)));
  });
});
