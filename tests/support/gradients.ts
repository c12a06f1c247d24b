import { seededRandom } from '../../src/lib/random.ts';

/** n numbers of a standard normal distribution, by Box and Muller. */
export function randomNormal(n: number, seed: number, scale = 1): Float64Array {
  const random = seededRandom(seed);
  return Float64Array.from(
    { length: n },
    () => scale * Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next()),
  );
}

/** Sum of the products: a loss whose gradient with respect to `a` is `b`. */
export function inner(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Worst difference of `gradient` from central differences of `loss` in `x`, relative to the largest gradient. At most `places` entries, evenly spread.
 *  In f64 a step of 1e-5 leaves about 1e-10 of truncation and 1e-11 of rounding for losses of size 1. */
export function gradientError(loss: () => number, x: Float64Array, gradient: ArrayLike<number>, places = 200): number {
  const step = 1e-5;
  const stride = Math.max(1, Math.floor(x.length / places));
  let worst = 0;
  let largest = 1e-3;
  for (let i = 0; i < x.length; i += stride) {
    const kept = x[i];
    x[i] = kept + step;
    const above = loss();
    x[i] = kept - step;
    const below = loss();
    x[i] = kept;
    const difference = Math.abs((above - below) / (2 * step) - gradient[i]);
    if (!(difference <= worst)) worst = difference;
    largest = Math.max(largest, Math.abs(gradient[i]));
  }
  return worst / largest;
}
