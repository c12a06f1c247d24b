// What the charts of a run are drawn from: pure, so that it is tested without a page.
import type { CurvePoint } from '../experiments/types.ts';

/** Exponential moving average with the bias of its start taken out (Kingma & Ba 2014, arXiv:1412.6980, section 3), so that the first point is itself. */
export function smoothed(points: readonly CurvePoint[], keep = 0.9): readonly CurvePoint[] {
  let mean = 0;
  let weight = 0;
  return points.map(({ step, value }) => {
    mean = keep * mean + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return { step, value: mean / weight };
  });
}

/** At most `most` points, the largest and the smallest of each stretch kept, so that spikes stay visible. */
export function thinned(points: readonly CurvePoint[], most = 800): readonly CurvePoint[] {
  if (points.length <= most) return points;
  const size = Math.ceil((2 * points.length) / most);
  const out: CurvePoint[] = [];
  for (let i = 0; i < points.length; i += size) {
    const stretch = points.slice(i, i + size);
    const low = stretch.reduce((a, b) => (b.value < a.value ? b : a));
    const high = stretch.reduce((a, b) => (b.value > a.value ? b : a));
    out.push(...(low === high ? [low] : low.step < high.step ? [low, high] : [high, low]));
  }
  return out;
}

/** Where validation loss rises after its lowest point: from that step to the last; nothing where it is the last. */
export function overfitting(validation: readonly CurvePoint[]): { readonly from: number; readonly to: number } | undefined {
  const last = validation.at(-1);
  if (last === undefined) return undefined;
  const lowest = validation.reduce((a, b) => (b.value < a.value ? b : a));
  return last.step > lowest.step && last.value > lowest.value ? { from: lowest.step, to: last.step } : undefined;
}
