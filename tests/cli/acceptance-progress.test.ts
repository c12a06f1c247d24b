import { expect, it } from 'vitest';
import { formatProgress, workMeter } from '../../src/cli/acceptance/progress.ts';

it('tells the row, the share of the work and the time left, by what rows really took', () => {
  let now = 0;
  const meter = workMeter(
    [
      ['1', 1000],
      ['2', 3000],
    ],
    () => now,
  );
  meter.begin('1');
  meter.add(100);
  expect(meter.now()).toEqual({ row: '1', share: 0.025, secondsLeft: undefined });
  now = 100;
  meter.add(400);
  // 5 tokens a second, 3,500 left.
  expect(meter.now()).toEqual({ row: '1', share: 0.125, secondsLeft: 700 });
  expect(formatProgress(meter.now())).toBe('row 1: 13 % of the table, about 12 min left');
  // Row 1 was done after half of what was expected.
  meter.begin('2');
  expect(meter.now()).toEqual({ row: '2', share: 500 / 3500, secondsLeft: 600 });
  now = 350;
  meter.add(2700);
  expect(formatProgress(meter.now())).toBe('row 2: 91 % of the table, about 33 s left');
  // A row that takes more than was expected has nothing left.
  meter.add(9999);
  expect(meter.now().secondsLeft).toBe(0);
});
