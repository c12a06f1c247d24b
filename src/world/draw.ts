import { hashText, type Random } from '../lib/random.ts';
import type { FamilyId, Split } from './types.ts';

/** Random choices for one document: the stream of numbers, and which side of the held-out line words come from. */
export interface Draw {
  readonly random: Random;
  readonly split: Split;
}

export const pick = <T>({ random }: Draw, items: readonly T[]): T => items[random.below(items.length)];
export const chance = ({ random }: Draw, share: number): boolean => random.next() < share;
/** A whole number from `low` to `high`, both included. */
export const between = ({ random }: Draw, low: number, high: number): number => low + random.below(high - low + 1);
/** `count` different items, in random order. */
export function sample<T>({ random }: Draw, items: readonly T[], count: number): T[] {
  const rest = [...items];
  const n = Math.min(count, rest.length);
  for (let i = 0; i < n; i++) {
    const j = i + random.below(rest.length - i);
    const kept = rest[i];
    rest[i] = rest[j];
    rest[j] = kept;
  }
  return rest.slice(0, n);
}
/** An item with its share of the whole, in a list of [item, share] pairs. */
export function weighted<T>({ random }: Draw, items: readonly (readonly [item: T, share: number])[]): T {
  let rest = random.next() * items.reduce((sum, [, share]) => sum + share, 0);
  for (const [item, share] of items) {
    rest -= share;
    if (rest < 0) return item;
  }
  return items[items.length - 1][0];
}

const cumulative = new Map<number, Float64Array>();
/** Earlier items more often: the share of rank i goes with 1 / (i + 1 + `flat`). Words that are rare and words that are common both teach something
 *  (Chan et al. 2022, arXiv:2205.05055). */
export function zipf<T>({ random }: Draw, items: readonly T[], flat = 2): T {
  const key = items.length * 64 + flat;
  let sums = cumulative.get(key);
  if (sums === undefined) {
    let sum = 0;
    sums = Float64Array.from(items, (_, i) => {
      sum += 1 / (i + 1 + flat);
      return sum;
    });
    cumulative.set(key, sums);
  }
  const at = random.next() * sums[sums.length - 1];
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[middle] > at) high = middle;
    else low = middle + 1;
  }
  return items[low];
}

/** Every tenth word is held out of a family: training never shows it there, though it does in other families. */
export const isHeld = (family: FamilyId, word: string): boolean => hashText(`${family}/${word}`) % 10 === 7;
/** Is this pairing held out of a family? The same both ways round. `share` of 5 holds out a fifth. */
export const isHeldPair = (family: string, a: string, b: string, share = 10): boolean =>
  hashText(a < b ? `${family}:${a}+${b}` : `${family}:${b}+${a}`) % share === 3;

const sides = new WeakMap<readonly string[], Map<string, readonly string[]>>();
/** The words of a list that a family may use on this side of the line, in the list's order. */
export function side({ split }: Draw, family: FamilyId, list: readonly string[]): readonly string[] {
  let known = sides.get(list);
  if (known === undefined) {
    known = new Map();
    sides.set(list, known);
  }
  const key = `${family}/${split}`;
  let words = known.get(key);
  if (words === undefined) {
    words = list.filter((word) => isHeld(family, word) === (split === 'held'));
    // A short list may have no word on the held-out side; its pairings are then what the tests hold out.
    if (words.length === 0) words = list;
    known.set(key, words);
  }
  return words;
}
/** A word of a list for a family, common words first. */
export const word = (draw: Draw, family: FamilyId, list: readonly string[]): string => zipf(draw, side(draw, family, list), 8);
/** `count` different words of a list for a family, common words first. The held-out side of a short list may give fewer: the rest come from training's. */
export function words(draw: Draw, family: FamilyId, list: readonly string[], count: number): string[] {
  const chosen = new Set<string>();
  const own = side(draw, family, list);
  for (let tries = 0; chosen.size < count && tries < 40 * count; tries++) chosen.add(zipf(draw, own, 8));
  for (const one of draw.random.shuffle(own.length >= count ? own : list)) if (chosen.size < count) chosen.add(one);
  return [...chosen];
}

/** `{name}` in a template becomes the value of that name. */
export const fill = (template: string, values: Readonly<Record<string, string | number>>): string =>
  template.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
/** "a robin", "an owl". */
export const withArticle = (text: string): string => `${/^[aeiou]/i.test(text) ? 'an' : 'a'} ${text}`;
export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
/** "a", "a and b", "a, b and c". */
export const listed = (items: readonly string[], last = 'and'): string =>
  items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} ${last} ${items[items.length - 1]}`;
