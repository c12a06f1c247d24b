import { assistant, conversation, user } from '../document.ts';
import { chance, type Draw, fill, isHeld, isHeldPair, pick, weighted, zipf } from '../draw.ts';
import type { WorldDocument } from '../types.ts';
import { english, inVesh, type NounPhrase, VESH_ADJECTIVES, VESH_NOUNS, VESH_VERBS, type VeshMeaning, veshWord } from '../vesh.ts';

const FAMILY = 'translation';
const TO_VESH = ['To Vesh: {x}', 'Say in Vesh: {x}', 'Translate to Vesh: {x}', 'What is this in Vesh? {x}'];
const FROM_VESH = ['To English: {x}', 'Say in English: {x}', 'Translate from Vesh: {x}', 'What does this Vesh mean? {x}'];

/** Rare nouns stand only where the text gives their Vesh word, so the model must read it there. */
const KNOWN = VESH_NOUNS.filter((noun) => !isHeld(FAMILY, noun));
const GIVEN = VESH_NOUNS.filter((noun) => isHeld(FAMILY, noun));

/** A noun with or without an adjective. Pairings of the two are what the tests hold out. */
function phrase(draw: Draw, nouns: readonly string[]): NounPhrase {
  const noun = zipf(draw, nouns, 20);
  const plural = chance(draw, 0.3);
  if (draw.split === 'train' && chance(draw, 0.45)) return { noun, plural };
  for (let tries = 0; tries < 400; tries++) {
    const adjective = zipf(draw, VESH_ADJECTIVES, 20);
    if (isHeldPair(FAMILY, noun, adjective) === (draw.split === 'held')) return { noun, adjective, plural };
  }
  return { noun, plural };
}

/** Family J: to and from Vesh, exact both ways. */
export function translation(draw: Draw): WorldDocument {
  const size =
    draw.split === 'held'
      ? 'sentence'
      : weighted(draw, [
          ['phrase', 0.25],
          ['short', 0.15],
          ['sentence', 0.6],
        ] as const);
  const given = draw.split === 'train' && GIVEN.length > 0 && chance(draw, 0.08) ? pick(draw, GIVEN) : undefined;
  const subject = phrase(draw, given === undefined ? KNOWN : [given]);
  const meaning: VeshMeaning =
    size === 'phrase'
      ? { subject }
      : size === 'short'
        ? { subject, verb: zipf(draw, VESH_VERBS, 20) }
        : { subject, verb: zipf(draw, VESH_VERBS, 20), object: phrase(draw, KNOWN) };
  const forth = chance(draw, 0.5);
  const [from, to] = forth ? [english(meaning), inVesh(meaning)] : [inVesh(meaning), english(meaning)];
  const gloss = given === undefined ? '' : `In Vesh ${given} is ${veshWord(given)}.\n`;
  return conversation(FAMILY, [user(gloss + fill(zipf(draw, forth ? TO_VESH : FROM_VESH, 1), { x: from })), assistant(to)], {
    size,
    direction: forth ? 'to Vesh' : 'to English',
  });
}
