// Sequences without a chat layout, dense in things to look back for: they come first in training, since with them the heads that copy form after
// 1.3 million tokens, and without them not at all (the recipe's measurements).
import { dense, text } from '../document.ts';
import { between, chance, type Draw, pick, sample } from '../draw.ts';
import { KINDS, LABELS, NAMES } from '../lexicon.ts';
import type { Turn, WorldDocument } from '../types.ts';
import { drawKinds, drawLabels, type Level, shownNouns } from './few-shot-labels.ts';

const SHOWN = KINDS.flatMap(({ name }) => shownNouns(name));
const EVERYTHING = [...SHOWN, ...LABELS, ...NAMES.slice(0, 100)];

/** A random string of words, twice or more. From its second time on each word can be known. */
export function denseRepeat(draw: Draw): WorldDocument {
  const length = between(draw, 4, 24);
  const words = sample(draw, chance(draw, 0.7) ? EVERYTHING : SHOWN, length);
  const times = Math.max(2, Math.floor(between(draw, 24, 64) / length));
  return dense(
    'dense-repeat',
    Array.from({ length: times }, (_, i) => text(words.map((one) => ` ${one}`).join(''), i > 0 ? 1 : 0)),
  );
}

/** Marks around a key and its value. Most have none: then a key is one token in front of its value. */
const MARKS: readonly (readonly [between: string, after: string])[] = [
  ['', ''],
  [' ->', ','],
  [':', '.'],
  [';', ''],
];

/** Keys with values of their own, in random order: a repeated key's value can be known. */
export function denseRecall(draw: Draw): WorldDocument {
  const count = between(draw, 4, 20);
  const keys = sample(draw, SHOWN, count);
  const values = sample(draw, LABELS, count);
  const [middle, after] = MARKS[chance(draw, 0.6) ? 0 : 1];
  const seen = new Set<number>();
  const turns: Turn[] = [];
  for (let n = between(draw, count + 6, 3 * count + 7); n > 0; n--) {
    const i = draw.random.below(count);
    turns.push(text(` ${keys[i]}${middle}`), text(` ${values[i]}`, seen.has(i) ? 1 : 0));
    if (after !== '') turns.push(text(after));
    seen.add(i);
  }
  return dense('dense-recall', turns);
}

/** Nouns and the labels of their kinds. `exact`: a noun repeats; `burst`: few nouns a kind; `kind`: no noun repeats until its kind is used up. */
export function densePairs(draw: Draw, level: Level, plain = 0.5): WorldDocument {
  const kinds = drawKinds(draw, between(draw, 2, 8));
  const labels = drawLabels(draw, kinds.length);
  const pools = kinds.map((kind) =>
    sample(draw, shownNouns(kind), level === 'exact' ? pick(draw, [1, 1, 2]) : level === 'burst' ? pick(draw, [2, 3, 4, 6]) : 12),
  );
  const [middle, after] = chance(draw, plain) ? MARKS[0] : MARKS[between(draw, 1, 3)];
  const used = kinds.map(() => 0);
  const seen = new Set<string>();
  const turns: Turn[] = [];
  for (let n = between(draw, 12, 40); n > 0; n--) {
    const klass = draw.random.below(kinds.length);
    const noun = level === 'kind' ? pools[klass][used[klass]++ % pools[klass].length] : pick(draw, pools[klass]);
    const key = level === 'exact' ? noun : kinds[klass];
    turns.push(text(` ${noun}${middle}`), text(` ${labels[klass]}`, seen.has(key) ? 1 : 0));
    if (after !== '') turns.push(text(after));
    seen.add(key);
  }
  return dense('dense-pairs', turns, { level });
}

/** What kind a thing is, in the weights: lists of statements, or of questions with yes and no. */
export function denseKinds(draw: Draw): WorldDocument {
  const shape = draw.random.next();
  const turns: Turn[] = [];
  for (let n = between(draw, 6, 13); n > 0; n--) {
    const kind = pick(draw, KINDS);
    const noun = pick(draw, kind.nouns);
    const other = chance(draw, 0.5) ? kind : pick(draw, KINDS);
    const same = other.name === kind.name ? ' yes' : ' no';
    if (shape < 0.6) turns.push(text(` ${noun} is`), text(` ${kind.name}`, 1), text('.'));
    else if (shape < 0.8) turns.push(text(` is ${noun} ${other.name}?`), text(same, 1));
    else turns.push(text(` ${noun} or ${pick(draw, other.nouns)}?`), text(same, 1));
  }
  return dense('dense-kinds', turns);
}
