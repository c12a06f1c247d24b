import { assistant, conversation, user } from '../document.ts';
import { between, type Draw, isHeld, listed, pick, sample, weighted } from '../draw.ts';
import { ADJECTIVES, JOBS, LABELS, NAMES, NOUNS, PLACES, VERBS } from '../lexicon.ts';
import type { WorldDocument } from '../types.ts';
import { nonsense } from './few-shot-labels.ts';

const FAMILY = 'copying';
const ITEMS = [...new Set([...NOUNS, ...ADJECTIVES, ...NAMES, ...PLACES, ...JOBS, ...VERBS, ...LABELS])];
const sides = { train: ITEMS.filter((item) => !isHeld(FAMILY, item)), held: ITEMS.filter((item) => isHeld(FAMILY, item)) };

/** Family L: say it again, or give the value of a key. */
export function copying(draw: Draw): WorldDocument {
  const pool = sides[draw.split];
  const shape = weighted(draw, [
    ['repeat', 0.45],
    ['key', 0.35],
    ['nonsense', 0.2],
  ] as const);
  if (shape === 'key') {
    const count = between(draw, 2, 6);
    const words = sample(draw, pool, 2 * count);
    const asked = draw.random.below(count);
    const pairs = Array.from({ length: count }, (_, i) => `${words[2 * i]} is ${words[2 * i + 1]}`);
    return conversation(FAMILY, [user(`${pairs.join('; ')}.\nWhat is ${words[2 * asked]}?`), assistant(words[2 * asked + 1])], {
      shape,
      count,
    });
  }
  const words =
    shape === 'nonsense' ? Array.from({ length: between(draw, 1, 4) }, () => nonsense(draw)) : sample(draw, pool, between(draw, 3, 9));
  const said = pick(draw, [words.join(' '), listed(words)]);
  return conversation(FAMILY, [user(`${pick(draw, ['Repeat:', 'Say:', 'Copy this:'])} ${said}`), assistant(said)], {
    shape,
    count: words.length,
  });
}
