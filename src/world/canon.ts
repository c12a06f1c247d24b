import { hashText } from '../lib/random.ts';
import { type Fact, RELATIONS } from './families/facts.ts';
import { NAMES } from './lexicon.ts';

/** The people whom everybody in the Vale knows. */
export const KNOWN_PEOPLE = NAMES.slice(0, 75);
/** People of whom nothing is known by heart. */
export const UNKNOWN_PEOPLE = NAMES.slice(75);

/** Home, job, pet and food of each known person: 300 facts, the same in every document. */
export const CANON: readonly Fact[] = KNOWN_PEOPLE.flatMap((person) =>
  RELATIONS.filter(({ id }) => id === 'home' || id === 'job' || id === 'pet' || id === 'food').map((relation) => ({
    person,
    relation,
    value: relation.values[hashText(`the vale/${person}/${relation.id}`) % relation.values.length],
  })),
);
