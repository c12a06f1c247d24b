import type { Check, WorldDocument } from './types.ts';

const squeeze = (text: string): string => text.trim().replace(/\s+/g, ' ');
const wordsOf = (text: string): string[] => text.toLowerCase().match(/[a-z]+/g) ?? [];

/** The last number in a text, or undefined. */
export function lastNumber(text: string): number | undefined {
  const found = text.match(/-?\d+/g);
  return found === null ? undefined : Number(found[found.length - 1]);
}

function jsonHasKey(answer: string, key: string): boolean {
  try {
    const value: unknown = JSON.parse(answer);
    return typeof value === 'object' && value !== null && Object.hasOwn(value, key);
  } catch {
    return false;
  }
}

/** Does an answer obey one rule? */
export function obeys(check: Check, answer: string): boolean {
  const said = squeeze(answer);
  switch (check.rule) {
    case 'equals':
      return said === squeeze(check.text);
    case 'contains':
      return said.includes(check.text);
    case 'starts-with':
      return said === check.text || said.startsWith(`${check.text} `) || said.startsWith(`${check.text},`);
    case 'ends-with':
      return said === check.text || said.endsWith(` ${check.text}`);
    case 'brackets':
      return said.startsWith('[') && said.endsWith(']');
    case 'one-word':
      return said.length > 0 && !said.includes(' ');
    case 'upper-case':
      return said === said.toUpperCase() && /[A-Z]/.test(said);
    case 'json':
      return jsonHasKey(said, check.key);
    case 'sentences':
      return (said.match(/[.!?](?=\s|$)/g) ?? []).length === check.count;
    case 'rhyme': {
      const ends = answer.split('\n').map((line) => wordsOf(line).at(-1) ?? '');
      return ends.length === 2 && ends[0] !== ends[1] && check.groups.some((group) => ends.every((end) => group.includes(end)));
    }
    case 'last-number':
      return lastNumber(said) === check.value;
  }
}

/** Does an answer pass everything that its document asks for? */
export const passes = (document: WorldDocument, answer: string): boolean => document.checks.every((check) => obeys(check, answer));
