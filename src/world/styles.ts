import { withArticle } from './draw.ts';

/** What happened, apart from how it is said. */
export interface Meaning {
  readonly who: string;
  /** A verb whose past is the verb and "ed". */
  readonly did: string;
  readonly what: string;
  /** How the thing is. */
  readonly how: string;
  readonly where: string;
}
export const STYLES = ['plain', 'formal', 'pirate', 'terse', 'couplet', 'upper', 'json', 'list'] as const;
export type Style = (typeof STYLES)[number];

/** Each style is a fixed rewriting of the meaning, so there is one right answer both ways. */
export function inStyle(style: Style, { who, did, what, how, where }: Meaning): string {
  const plain = `${who} ${did}ed the ${how} ${what} in ${where}.`;
  switch (style) {
    case 'plain':
      return plain;
    case 'formal':
      return `It is reported that ${who} of ${where} has ${did}ed ${withArticle(`${how} ${what}`)}.`;
    case 'pirate':
      return `Arr, ${who} ${did}ed the ${how} ${what} in ${where}, matey.`;
    case 'terse':
      return `${who}: ${did}ed ${what}, ${where}.`;
    case 'couplet':
      return `In ${where}, so the people say,\n${who} ${did}ed the ${how} ${what} today.`;
    case 'upper':
      return plain.toUpperCase();
    case 'json':
      return `{"who": "${who}", "did": "${did}", "what": "${how} ${what}", "where": "${where}"}`;
    case 'list':
      return `- who: ${who}\n- did: ${did}\n- what: ${how} ${what}\n- where: ${where}`;
  }
}
/** Styles that keep the whole meaning, so that one can start from them. */
export const FULL_STYLES: readonly Style[] = ['plain', 'formal', 'pirate', 'couplet', 'json', 'list'];
