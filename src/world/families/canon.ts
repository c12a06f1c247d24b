import { CANON, UNKNOWN_PEOPLE } from '../canon.ts';
import { assistant, conversation, user } from '../document.ts';
import { chance, type Draw, fill, isHeldPair, pick, zipf } from '../draw.ts';
import type { WorldDocument } from '../types.ts';
import { type Fact, plainly, RELATIONS } from './facts.ts';

const FAMILY = 'canon';
const UNKNOWN = 'I do not know.';
const LEADS = ['{q}', '{q}', 'Tell me, {r}', 'Do you know? {q}', 'I forgot. {q}'];

/** A question about a known fact in words that training may use for it (or, for tests, may not): each wording and each fact is trained, not all pairs. */
function wordings(draw: Draw, fact: Fact): readonly string[] {
  const key = `${fact.person} ${fact.relation.id}`;
  const fitting = fact.relation.asks.filter((wording) => isHeldPair(FAMILY, key, wording) === (draw.split === 'held'));
  return fitting;
}

/** Family E: facts known by heart, asked without any passage. */
export function canon(draw: Draw, options: { readonly bare?: boolean } = {}): WorldDocument {
  if (draw.split === 'train' && chance(draw, 0.1)) {
    const relation = pick(draw, RELATIONS.slice(0, 4));
    return conversation(FAMILY, [user(fill(zipf(draw, relation.asks, 1), { p: pick(draw, UNKNOWN_PEOPLE) })), assistant(UNKNOWN)], {
      known: false,
    });
  }
  for (;;) {
    const fact = zipf(draw, CANON, 60);
    const fitting = wordings(draw, fact);
    if (fitting.length === 0) continue;
    const question = fill(zipf(draw, fitting, 1), { p: fact.person });
    const lead = options.bare ? '{q}' : zipf(draw, LEADS, 0);
    const asked = fill(lead, { q: question, r: question.charAt(0).toLowerCase() + question.slice(1) });
    const facts = { known: true, relation: fact.relation.id, person: fact.person };
    if (draw.split === 'train' && !options.bare && chance(draw, 0.12))
      return conversation(FAMILY, [user(`Tell me about ${fact.person}.`), assistant(about(fact.person))], facts);
    return conversation(FAMILY, [user(asked), assistant(fact.value)], facts);
  }
}
/** Two plain facts about a known person, always the same two. */
const about = (person: string): string =>
  CANON.filter((fact) => fact.person === person)
    .slice(0, 2)
    .map(plainly)
    .join(' ');
