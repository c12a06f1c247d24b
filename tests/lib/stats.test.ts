import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bootstrapInterval, brackets, formatP, holm, mean, median, quantile, signFlipTest, signTest, wilson } from '../../src/lib/stats.ts';

describe('wilson', () => {
  it('gives 0.70 to 0.97 for 18 of 20', () => {
    const { low, high } = wilson(18, 20);
    expect([low.toFixed(2), high.toFixed(2)]).toEqual(['0.70', '0.97']);
  });
  it('stays within 0 and 1 and holds the share itself', () => {
    expect(wilson(0, 10).low).toBe(0);
    expect(wilson(10, 10).high).toBe(1);
    expect(wilson(0, 10).high).toBeCloseTo(0.2775, 4);
    expect(wilson(0, 0)).toEqual({ low: 0, high: 1 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, share) => {
        const k = Math.round(share * n);
        const { low, high } = wilson(k, n);
        expect(low >= 0 && low <= k / n && k / n <= high && high <= 1).toBe(true);
      }),
    );
  });
});

describe('signTest', () => {
  it.each([
    [7, 3, 0.34375],
    [10, 1, 0.01171875],
    [15, 5, 0.04138947],
    [6, 0, 0.03125],
    [5, 0, 0.0625],
    [0, 0, 1],
    [4, 4, 1],
    [3, 7, 0.34375],
  ])('%i wins and %i losses: p = %f', (wins, losses, p) => expect(signTest(wins, losses)).toBeCloseTo(p, 7));
  it('does not underflow', () => {
    expect(signTest(2000, 1900)).toBeGreaterThan(0.1);
    expect(signTest(3000, 1000)).toBeLessThan(1e-100);
  });
});

describe('signFlipTest', () => {
  it('equals the sign test where all differences are of one size', () => {
    const differences = [...Array(10).fill(0.5), -0.5];
    expect(signFlipTest(differences, 1)).toBeCloseTo(signTest(10, 1), 12);
  });
  it("gives Fisher's p for Darwin's maize (The Design of Experiments, 1935, section 21: 863 of 32 768 one-sided)", () => {
    const darwin = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48];
    expect(signFlipTest(darwin, 1)).toBeCloseTo(1726 / 32768, 10);
  });
  it('draws signs above 16 differences, near the exact sign test, the same for the same seed', () => {
    const differences = [...Array(15).fill(1), ...Array(5).fill(-1), 0, 0];
    const p = signFlipTest(differences, 7);
    expect(Math.abs(p - signTest(15, 5))).toBeLessThan(0.004); // 6 standard errors of 100 000 draws
    expect(signFlipTest(differences, 7)).toBe(p);
    expect(signFlipTest(Array(40).fill(1), 1)).toBeGreaterThan(0);
  });
  it('knows nothing where nothing differs', () => {
    expect(signFlipTest([0, 0, 0], 1)).toBe(1);
    expect(signFlipTest([], 1)).toBe(1);
  });
});

describe('bootstrapInterval', () => {
  it('is near the normal interval of a mean, and repeats', () => {
    const values = Array.from({ length: 200 }, (_, i) => (i % 10) / 9);
    const { low, high } = bootstrapInterval(values, 3);
    const spread = 1.96 * Math.sqrt(mean(values.map((v) => (v - 0.5) ** 2)) / 200);
    expect(Math.abs(low - (0.5 - spread))).toBeLessThan(0.005);
    expect(Math.abs(high - (0.5 + spread))).toBeLessThan(0.005);
    expect(bootstrapInterval(values, 3)).toEqual({ low, high });
  });
  it('is a point where all values are equal', () => expect(bootstrapInterval([0.5, 0.5], 1)).toEqual({ low: 0.5, high: 0.5 }));
});

describe('holm', () => {
  it('multiplies the smallest by n, the next by n - 1, and never falls', () => {
    const corrected = holm([0.01, 0.04, 0.03, 0.005]);
    for (const [i, p] of [0.03, 0.06, 0.06, 0.02].entries()) expect(corrected[i]).toBeCloseTo(p, 12);
    expect(holm([0.9, 0.8])).toEqual([1, 1]);
    expect(holm([])).toEqual([]);
  });
});

describe('brackets', () => {
  const by = (pairs: readonly string[]) => (a: string, b: string) => (pairs.includes(a + b) || pairs.includes(b + a) ? 0.2 : 0.01);
  it('draws each maximal run once, in the first free lane', () => {
    expect(brackets([...'abcd'], by(['ab', 'bc', 'cd']))).toEqual([
      { from: 0, to: 1, lane: 0 },
      { from: 1, to: 2, lane: 1 },
      { from: 2, to: 3, lane: 0 },
    ]);
    expect(brackets([...'abcd'], by(['ab', 'ac', 'bc', 'cd']))).toEqual([
      { from: 0, to: 2, lane: 0 },
      { from: 2, to: 3, lane: 1 },
    ]);
    expect(brackets([...'abc'], by([]))).toEqual([]);
    expect(brackets([...'ab'], () => 0.05)).toEqual([{ from: 0, to: 1, lane: 0 }]);
    expect(brackets([], () => 1)).toEqual([]);
  });
  it('holds only pairs that cannot be told apart, leaves none out, and never lets two share a lane', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9 }), fc.array(fc.boolean(), { minLength: 100, maxLength: 100 }), (n, same) => {
        const p = (a: number, b: number) => (same[Math.min(a, b) * 10 + Math.max(a, b)] ? 0.5 : 0.01);
        const runs = brackets(
          Array.from({ length: n }, (_, i) => i),
          p,
        );
        for (const { from, to } of runs) for (let i = from; i < to; i++) for (let j = i + 1; j <= to; j++) expect(p(i, j)).toBe(0.5);
        for (let i = 0; i + 1 < n; i++) if (p(i, i + 1) === 0.5) expect(runs.some(({ from, to }) => from <= i && to >= i + 1)).toBe(true);
        for (const a of runs) for (const b of runs) if (a !== b && a.lane === b.lane) expect(a.to < b.from || b.to < a.from).toBe(true);
        for (const a of runs) for (const b of runs) if (a !== b) expect(a.from <= b.from && a.to >= b.to).toBe(false);
      }),
    );
  });
});

describe('quantile, median, formatP', () => {
  it('interpolates between neighbours', () => {
    expect(quantile([1, 2, 3, 4], 0.25)).toBe(1.75);
    expect(median([3, 1, 2])).toBe(2);
    expect(quantile([], 0.5)).toBeNaN();
    expect(mean([])).toBeNaN();
  });
  it('writes p without a leading zero', () => {
    expect([0.0117, 0.34375, 0.0004, 1, 0.0414, 0.0499, 0.05, 0.1, 0.0996].map(formatP)).toEqual([
      '.012',
      '.34',
      '< .001',
      '1.00',
      '.041',
      '.0499',
      '.050',
      '.10',
      '.10',
    ]);
  });
});
