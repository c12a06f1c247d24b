import { assistant, conversation, user } from '../document.ts';
import { between, chance, type Draw, fill, pick, sample, withArticle, word, words, zipf } from '../draw.ts';
import { ADJECTIVES, NAMES, NOUNS, PLACES } from '../lexicon.ts';
import type { FamilyId, WorldDocument } from '../types.ts';
import { ask, askWho, drawFact, type Fact, plainly, RELATIONS, say, sayBoth } from './facts.ts';

const FAMILY = 'reading';
export const NOT_SAID = 'Not said.';

const ASIDES = [
  'The {n} was {j}.',
  'The day in {l} was {j}.',
  'There was {a} in {l}.',
  'Nobody saw the {j} {n}.',
  'The road to {l} is {j}.',
  'Later the {n} was gone.',
];
const aside = (draw: Draw, family: FamilyId): string => {
  const n = word(draw, family, NOUNS);
  return fill(pick(draw, ASIDES), { n, a: withArticle(n), j: word(draw, family, ADJECTIVES), l: word(draw, family, PLACES) });
};

/** The first frame is the common one. */
const FRAMES = [
  '{text} {question}',
  '{text}\n{question}',
  'Read this: {text} {question}',
  'Text: {text}\nQuestion: {question}',
  '{question} {text}',
  '{text} Now tell me: {question}',
];

export interface ReadingItem {
  readonly user: string;
  /** The bare answer. */
  readonly answer: string;
  /** The answer as a sentence. */
  readonly full: string;
  /** What the answer is, for JSON: place, job, ... or name. */
  readonly key: string;
  readonly topic: Fact['relation']['id'];
  readonly sentences: number;
  /** More questions about the same passage, for later turns. */
  readonly more: readonly { readonly user: string; readonly answer: string }[];
}

export interface ReadingOptions {
  /** Facts in the passage. */
  readonly facts?: number;
  readonly asides?: number;
  /** Share of questions that the passage does not answer. */
  readonly unsaid?: number;
  readonly frame?: string;
  /** Further questions about the passage. */
  readonly more?: number;
  /** The people asked about, instead of those of the family's side: for facts that contradict what the model knows by heart. */
  readonly people?: readonly string[];
}

/** A passage about some people, and a question about one of them. */
export function readingItem(draw: Draw, family: FamilyId, options: ReadingOptions = {}): ReadingItem {
  const count = options.facts ?? between(draw, 2, 6);
  const people = options.people ?? words(draw, family, NAMES, Math.max(2, count - between(draw, 0, 2)) + 1);
  const [absent, ...present] = people;
  const facts: Fact[] = [];
  const taken = new Set<string>();
  for (let i = 0; i < count; i++) {
    const person = present[i % present.length];
    const known = new Set(facts.filter((fact) => fact.person === person).map(({ relation }) => relation.id));
    const fact = drawFact(
      draw,
      family,
      person,
      RELATIONS.filter(({ id }) => !known.has(id)),
      taken,
    );
    facts.push(fact);
    taken.add(fact.value);
  }
  const asked = pick(draw, facts);
  const passage = draw.random.shuffle([
    ...tell(draw, facts),
    ...Array.from({ length: options.asides ?? weightedAsides(draw) }, () => aside(draw, family)),
  ]);
  const frame = options.frame ?? zipf(draw, FRAMES, 1);
  const written = (question: string): string => fill(frame, { text: passage.join(' '), question });
  const others = sample(
    draw,
    facts.filter((fact) => fact !== asked),
    options.more ?? 0,
  );
  const more = others.map((fact) =>
    chance(draw, 0.2) ? { user: askWho(draw, fact), answer: fact.person } : { user: ask(draw, fact), answer: fact.value },
  );
  const base = { topic: asked.relation.id, sentences: passage.length, more };
  if (chance(draw, options.unsaid ?? 0.12)) {
    const missing: Fact = { ...asked, person: absent };
    return { ...base, user: written(ask(draw, missing)), answer: NOT_SAID, full: NOT_SAID, key: asked.relation.id };
  }
  if (chance(draw, 0.2)) return { ...base, user: written(askWho(draw, asked)), answer: asked.person, full: plainly(asked), key: 'name' };
  return { ...base, user: written(ask(draw, asked)), answer: asked.value, full: plainly(asked), key: asked.relation.id };
}
const weightedAsides = (draw: Draw): number => (chance(draw, 0.6) ? 0 : between(draw, 1, 2));

/** Sentences for facts; two about the same person may share one. */
function tell(draw: Draw, facts: readonly Fact[]): string[] {
  const rest = [...facts];
  const out: string[] = [];
  while (rest.length > 0) {
    const fact = rest.shift();
    if (fact === undefined) break;
    const partner = rest.findIndex(({ person }) => person === fact.person);
    if (partner >= 0 && chance(draw, 0.4)) out.push(sayBoth(fact, rest.splice(partner, 1)[0]));
    else out.push(say(draw, fact));
  }
  return out;
}

/** Family D: the answer is a word of the passage, or "Not said.". In training often several questions about one passage, one a turn. */
export function reading(draw: Draw, options: ReadingOptions = {}): WorldDocument {
  const more = options.more ?? (draw.split === 'train' && chance(draw, 0.5) ? between(draw, 1, 3) : 0);
  const item = readingItem(draw, FAMILY, { ...options, more });
  const turns = [user(item.user), assistant(item.answer), ...item.more.flatMap((next) => [user(next.user), assistant(next.answer)])];
  return conversation(FAMILY, turns, {
    topic: item.topic,
    sentences: item.sentences,
    said: item.answer !== NOT_SAID,
    turns: 1 + item.more.length,
  });
}
