import { expect, it } from 'vitest';
import { coalesced } from '../../src/ui/coalesced.ts';

it('runs once more after the run under way, however often it was asked', async () => {
  let runs = 0;
  let seen = '';
  let now = 'a';
  const run = coalesced(async () => {
    runs++;
    const value = now;
    await new Promise((resolve) => setTimeout(resolve, 5));
    seen = value;
  });
  const first = run();
  now = 'b';
  const asked = [run(), run(), run()];
  await first;
  expect(seen).toBe('a');
  await Promise.all(asked);
  expect(seen).toBe('b');
  expect(runs).toBe(2);
  await run();
  expect(runs).toBe(3);
});
