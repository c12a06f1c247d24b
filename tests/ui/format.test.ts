import { describe, expect, it } from 'vitest';
import {
  about,
  axisValues,
  bytes,
  count,
  csv,
  duration,
  fileStem,
  histogram,
  listing,
  plural,
  pValue,
  quantile,
  scoreTicks,
  shorten,
} from '../../src/ui/format.ts';

describe('numbers as the screens write them', () => {
  it('groups thousands with a narrow space', () => {
    expect(count(1319)).toBe('1\u202f319');
    expect(count(999)).toBe('999');
    expect(count(31245000000)).toBe('31\u202f245\u202f000\u202f000');
    expect(plural(1, 'row')).toBe('1 row');
    expect(plural(0, 'row')).toBe('0 rows');
  });
  it('writes bytes with as many digits as they deserve', () => {
    expect([0, 600, 1000, 61000, 999_600, 17_400_000, 724_000_000, 8.0e9].map(bytes)).toEqual([
      '0 B',
      '600 B',
      '1.0 kB',
      '61 kB',
      '1.0 MB',
      '17.4 MB',
      '724 MB',
      '8.0 GB',
    ]);
  });
  it('writes times in minutes and seconds, and estimates without false precision', () => {
    expect([0, 0.42, 2, 9.96, 59.6, 180, 250, 3900].map(duration)).toEqual([
      '0 s',
      '0.4 s',
      '2 s',
      '10 s',
      '1 min 00 s',
      '3 min 00 s',
      '4 min 10 s',
      '1 h 05 min',
    ]);
    expect([0.2, 20.4, 118, 247, 700].map(about)).toEqual(['under 1 s', 'about 20 s', 'about 2 min', 'about 4 min 10 s', 'about 12 min']);
  });
  it('writes p without a leading zero', () => {
    expect([0.0004, 0.001, 0.0094, 0.0122, 0.44, 1].map(pValue)).toEqual([
      'p < .001',
      'p = .001',
      'p = .009',
      'p = .01',
      'p = .44',
      'p = 1.0',
    ]);
  });
  it('cuts at a word and says so', () => {
    expect(shorten('Where is my order 4471?', 15)).toBe('Where is my…');
    expect(shorten('short', 15)).toBe('short');
    expect(listing(['a', 'b', 'c'])).toBe('a, b and c');
  });
});

describe('charts', () => {
  it('rules the score axis every .05 with five labelled ticks', () => {
    const ticks = scoreTicks();
    expect(ticks).toHaveLength(21);
    expect(ticks.filter((t) => t.size === 'major').map((t) => t.at)).toEqual([0, 0.25, 0.5, 0.75, 1]);
  });
  it('puts every value of a histogram in one bin', () => {
    const h = histogram([61, 136, 137, 218, 285]);
    expect(h.width).toBe(16);
    expect(h.bins.reduce((sum, b) => sum + b.n, 0)).toBe(5);
    expect(h.bins.at(-1)?.from).toBe(272);
    expect(histogram([]).bins).toHaveLength(1);
  });
  it('ends an axis at or above the largest value', () => {
    expect(axisValues(22, 2)).toEqual([0, 10, 20, 30]);
    expect(axisValues(0, 3).at(-1)).toBeGreaterThanOrEqual(1);
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2);
  });
});

describe('files', () => {
  it('quotes what CSV would misread and disarms formulas', () => {
    expect(csv([['a,b', 'say "hi"', '=1+1', -2]])).toBe('"a,b","say ""hi""",\'=1+1,-2\r\n');
  });
  it('makes a file name of a title', () => {
    expect(fileStem('Answer customers, in our Häuser style!')).toBe('answer-customers-in-our-hauser-style');
    expect(fileStem('***')).toBe('maquette');
  });
});
