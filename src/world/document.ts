import type { Check, FamilyId, Turn, WorldDocument } from './types.ts';

/** Turns that nobody is graded on. */
export const system = (content: string): Turn => ({ role: 'system', content, weight: 0, endWeight: 0 });
export const user = (content: string): Turn => ({ role: 'user', content, weight: 0, endWeight: 0 });
/** What the model should say. A first label that nothing yet decides weighs less than one that the shots before it decide. */
export const assistant = (content: string, weight = 1, endWeight = weight): Turn => ({ role: 'assistant', content, weight, endWeight });
/** Words outside the chat layout, with their own spaces in front. */
export const text = (content: string, weight = 0): Turn => ({ role: 'text', content, weight, endWeight: 0 });

/** A conversation whose last assistant turn is the gold answer. `checks` are beside equality with it, which every document has. */
export function conversation(
  family: FamilyId,
  turns: readonly Turn[],
  facts: WorldDocument['facts'] = {},
  checks: readonly Check[] = [],
): WorldDocument {
  const last = turns[turns.length - 1];
  return { family, turns, gold: last.content, checks: checks.length > 0 ? checks : [{ rule: 'equals', text: last.content }], facts };
}

export const dense = (family: FamilyId, turns: readonly Turn[], facts: WorldDocument['facts'] = {}): WorldDocument => ({
  family,
  turns,
  gold: '',
  checks: [],
  facts,
});

/** The messages in front of the gold answer, as a program that asks the model would send them. */
export function messagesOf(document: WorldDocument): { readonly role: 'system' | 'user' | 'assistant'; readonly content: string }[] {
  return document.turns.slice(0, -1).flatMap(({ role, content }) => (role === 'text' ? [] : [{ role, content }]));
}
