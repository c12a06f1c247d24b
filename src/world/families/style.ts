import { assistant, conversation, user } from '../document.ts';
import { type Draw, fill, isHeldPair, pick, weighted, word, zipf } from '../draw.ts';
import { ADJECTIVES, DOINGS, HELD_THINGS, NAMES, PLACES } from '../lexicon.ts';
import { FULL_STYLES, inStyle, type Style } from '../styles.ts';
import type { WorldDocument } from '../types.ts';

const FAMILY = 'style';
const NAMES_OF_STYLES: Readonly<Record<Style, string>> = {
  plain: 'plain words',
  formal: 'a formal style',
  pirate: 'the style of a pirate',
  terse: 'very few words',
  couplet: 'two lines of verse',
  upper: 'capital letters',
  json: 'JSON',
  list: 'a list',
};
const ASKS = ['Rewrite in {s}: {x}', 'Say it in {s}: {x}', 'Put this in {s}: {x}', '{x} Write that in {s}.', 'The same in {s}, now: {x}'];
/** Family I: the same meaning in another style. Which verb goes with which thing is what the tests hold out. */
export function style(draw: Draw, options: { readonly target?: Style } = {}): WorldDocument {
  let did = zipf(draw, DOINGS, 10);
  let what = zipf(draw, HELD_THINGS, 20);
  while (isHeldPair(FAMILY, did, what) !== (draw.split === 'held')) {
    did = zipf(draw, DOINGS, 10);
    what = zipf(draw, HELD_THINGS, 20);
  }
  const meaning = { who: word(draw, FAMILY, NAMES), did, what, how: zipf(draw, ADJECTIVES, 20), where: word(draw, FAMILY, PLACES) };
  const target =
    options.target ??
    weighted(draw, [
      ['plain', 0.26],
      ['formal', 0.15],
      ['pirate', 0.15],
      ['terse', 0.1],
      ['couplet', 0.1],
      ['upper', 0.04],
      ['json', 0.08],
      ['list', 0.12],
    ] as const);
  const from = target === 'plain' ? pick(draw, FULL_STYLES.slice(1)) : 'plain';
  const asked = fill(zipf(draw, ASKS, 1), { s: NAMES_OF_STYLES[target], x: inStyle(from, meaning) });
  return conversation(FAMILY, [user(asked), assistant(inStyle(target, meaning))], { from, target });
}
