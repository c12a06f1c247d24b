import type { Progress } from '../../src/rpc/contract.ts';

const EVERY_MS = 80;

/** Reports how far something is, at most 12 times a second and always at the end, with the time left at the rate so far. */
export function clock(
  total: number,
  unit: Progress['unit'],
  onProgress: (progress: Progress) => void,
  alreadyDone = 0,
): (what: string, done: number) => void {
  const started = performance.now();
  let last = Number.NEGATIVE_INFINITY;
  return (what, done) => {
    const now = performance.now();
    if (now - last < EVERY_MS && done < total) return;
    last = now;
    const seconds = (now - started) / 1000;
    const made = done - alreadyDone;
    const left = made > 0 && seconds > 0.5 ? { secondsLeft: ((total - done) * seconds) / made } : {};
    onProgress({ what, done, total, unit, ...left });
  };
}
