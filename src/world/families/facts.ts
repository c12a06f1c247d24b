import { type Draw, fill, pick, side, withArticle, word, zipf } from '../draw.ts';
import { ADJECTIVES, FOODS, HELD_THINGS, JOBS, PETS, PLACES } from '../lexicon.ts';
import type { FamilyId } from '../types.ts';

/** What one can say of a person, in the words of the Vale. `{p}` is the person, `{v}` the value, `{a}` the value with its article. */
export interface Relation {
  readonly id: 'home' | 'job' | 'pet' | 'food' | 'thing' | 'mood';
  readonly values: readonly string[];
  readonly says: readonly string[];
  /** The same as the second half of a sentence about that person. */
  readonly joined: string;
  readonly asks: readonly string[];
  /** Asks for the person by the value. */
  readonly asksWho: readonly string[];
}

const MOODS = ADJECTIVES.slice(-40);
export const RELATIONS: readonly Relation[] = [
  {
    id: 'home',
    values: PLACES,
    says: ['{p} lives in {v}.', '{p} has a house in {v}.', 'The home of {p} is {v}.', '{p} comes from {v}.', 'In {v} lives {p}.'],
    joined: 'lives in {v}',
    asks: [
      'Where does {p} live?',
      'In which place does {p} live?',
      'What is the home of {p}?',
      'Where is {p} from?',
      'Where can we find {p}?',
    ],
    asksWho: ['Who lives in {v}?', 'Who comes from {v}?'],
  },
  {
    id: 'job',
    values: JOBS,
    says: ['{p} works as {a}.', '{p} is {a}.', 'The job of {p} is {v}.', '{p} has worked as {a} for a long time.'],
    joined: 'works as {a}',
    asks: ['What is the job of {p}?', 'What does {p} work as?', 'What work does {p} do?', 'Which job does {p} have?'],
    asksWho: ['Who works as {a}?', 'Who is {a}?'],
  },
  {
    id: 'pet',
    values: PETS,
    says: ['{p} keeps {a}.', '{p} has {a} at home.', 'The pet of {p} is {a}.', '{a} follows {p} all day.'],
    joined: 'keeps {a}',
    asks: ['What does {p} keep?', 'What pet does {p} have?', 'Which animal does {p} keep?', 'What is the pet of {p}?'],
    asksWho: ['Who keeps {a}?', 'Who has {a} at home?'],
  },
  {
    id: 'food',
    values: FOODS,
    says: ['{p} likes {v} best.', '{p} loves {v}.', 'At noon {p} has {v}.', 'What {p} likes is {v}.'],
    joined: 'likes {v}',
    asks: ['What does {p} like?', 'What does {p} love?', 'What food does {p} like best?', 'What is it that {p} likes?'],
    asksWho: ['Who likes {v}?', 'Who loves {v}?'],
  },
  {
    id: 'thing',
    values: HELD_THINGS,
    says: ['{p} carries {a}.', '{p} bought {a}.', 'In the bag of {p} is {a}.', '{p} holds {a}.'],
    joined: 'carries {a}',
    asks: ['What does {p} carry?', 'What does {p} hold?', 'What is in the bag of {p}?', 'Which thing does {p} have?'],
    asksWho: ['Who carries {a}?', 'Who holds {a}?'],
  },
  {
    id: 'mood',
    values: MOODS,
    says: ['{p} looks {v}.', '{p} is {v} today.', '{p} feels {v}.', 'People say that {p} is {v}.'],
    joined: 'looks {v}',
    asks: ['How does {p} look?', 'How is {p} today?', 'How does {p} feel?', 'What do people say of {p}?'],
    asksWho: ['Who looks {v}?', 'Who is {v} today?'],
  },
];

export interface Fact {
  readonly person: string;
  readonly relation: Relation;
  readonly value: string;
}
const slots = ({ person, value }: Fact): Readonly<Record<string, string>> => ({ p: person, v: value, a: withArticle(value) });
const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** A fact in one of its wordings: common ones first. */
export const say = (draw: Draw, fact: Fact): string => upper(fill(zipf(draw, fact.relation.says, 1), slots(fact)));
/** The plain statement, which a full-sentence answer is. */
export const plainly = (fact: Fact): string => upper(fill(fact.relation.says[0], slots(fact)));
/** Two facts about one person in one sentence. */
export const sayBoth = (first: Fact, second: Fact): string =>
  `${first.person} ${fill(first.relation.joined, slots(first))} and ${fill(second.relation.joined, slots(second))}.`;
export const ask = (draw: Draw, fact: Fact): string => fill(zipf(draw, fact.relation.asks, 1), slots(fact));
export const askWho = (draw: Draw, fact: Fact): string => fill(zipf(draw, fact.relation.asksWho, 1), slots(fact));

/** A fact about `person`, its value none of `taken`. */
export function drawFact(draw: Draw, family: FamilyId, person: string, relations: readonly Relation[], taken: ReadonlySet<string>): Fact {
  for (;;) {
    const relation = pick(draw, relations);
    const value = word(draw, family, relation.values);
    if (!taken.has(value) || side(draw, family, relation.values).length < 4) return { person, relation, value };
  }
}
