import { describe, expect, it } from 'vitest';
import { rowsToSeparate } from '../../src/ui/decide.ts';

describe('rows that would tell two contestants apart', () => {
  it('asks for more rows the closer they are', () => {
    const clear = rowsToSeparate({ wins: 8, losses: 0 }, 20) ?? 0;
    const close = rowsToSeparate({ wins: 6, losses: 3 }, 20) ?? 0;
    expect(clear).toBeLessThanOrEqual(20);
    expect(close).toBeGreaterThan(100);
  });
  it("agrees with Connor's formula for discordance .4 and difference .2", () => {
    // (1.959964 * sqrt(.4) + .841621 * sqrt(.4 - .04))^2 / .04 = 76.0
    expect(rowsToSeparate({ wins: 6, losses: 2 }, 20)).toBe(
      Math.ceil((1.959964 * Math.sqrt(0.4) + 0.841621 * Math.sqrt(0.36)) ** 2 / 0.04),
    );
  });
  it('has no answer where they won equally often', () => {
    expect(rowsToSeparate({ wins: 2, losses: 2 }, 20)).toBeUndefined();
    expect(rowsToSeparate({ wins: 0, losses: 0 }, 0)).toBeUndefined();
  });
});
