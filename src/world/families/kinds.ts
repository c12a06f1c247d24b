import { assistant, conversation, user } from '../document.ts';
import { chance, type Draw, fill, pick, weighted, withArticle, zipf } from '../draw.ts';
import { ADJECTIVES, KINDS, NAMES, PLACES } from '../lexicon.ts';
import type { WorldDocument } from '../types.ts';

const FAMILY = 'kinds';
const WHAT = [
  'What is {a}?',
  'What kind of thing is {a}?',
  'Name the kind of {n}.',
  'Which kind is the {n}?',
  '{p} saw {a}. What is that?',
  'The {j} {n} is in {l}. What is the {n}?',
];

/** What kind a thing is, in conversations: naming it, yes or no, one of two. All nouns, also those that few-shot episodes hold out. */
export function kinds(draw: Draw): WorldDocument {
  const kind = pick(draw, KINDS);
  const noun = pick(draw, kind.nouns);
  const other = pick(draw, KINDS);
  const shape = weighted(draw, [
    ['bare', 0.25],
    ['what', 0.4],
    ['yes', 0.2],
    ['which', 0.15],
  ] as const);
  if (shape === 'bare') return conversation(FAMILY, [user(`${noun} is a what?`), assistant(kind.name)], { shape });
  if (shape === 'yes') {
    const asked = chance(draw, 0.5) ? kind : other;
    return conversation(
      FAMILY,
      [user(`Is ${withArticle(noun)} ${withArticle(asked.name)}?`), assistant(asked.name === kind.name ? 'yes' : 'no')],
      { shape },
    );
  }
  if (shape === 'which' && other.name !== kind.name) {
    const wrong = pick(draw, other.nouns);
    const [first, second] = chance(draw, 0.5) ? [noun, wrong] : [wrong, noun];
    return conversation(FAMILY, [user(`Which is ${withArticle(kind.name)}, ${first} or ${second}?`), assistant(noun)], { shape });
  }
  const values = { n: noun, a: withArticle(noun), p: zipf(draw, NAMES), j: zipf(draw, ADJECTIVES), l: zipf(draw, PLACES) };
  return conversation(FAMILY, [user(fill(zipf(draw, WHAT, 0), values)), assistant(kind.name)], { shape });
}
