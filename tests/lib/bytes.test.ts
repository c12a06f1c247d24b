import { expect, test } from 'vitest';
import { bytes } from '../../src/lib/bytes.ts';

test('bytes never read as 0 of a unit that is too large for them', () => {
  const texts = [0, 12, 940, 61_400, 364_000, 2_500_000, 17_380_000, 724_400_000, 2_300_000_000].map(bytes);
  expect(texts).toEqual(['0 B', '12 B', '940 B', '61 kB', '364 kB', '2.5 MB', '17.4 MB', '724 MB', '2.3 GB']);
});
