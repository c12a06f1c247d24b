import { hashText, seededRandom } from '../lib/random.ts';
import { ADJECTIVES, DOINGS, KINDS, SYLLABLES } from './lexicon.ts';

/** The words that Vesh has: 100 nouns, 50 adjectives, 50 verbs. */
export const VESH_NOUNS: readonly string[] = KINDS.flatMap(({ nouns }) => nouns.slice(0, 5))
  .filter((noun) => !/(sh|ch|x|s|y|lf)$/.test(noun))
  .slice(0, 100);
export const VESH_ADJECTIVES: readonly string[] = ADJECTIVES.slice(0, 50);
export const VESH_VERBS: readonly string[] = DOINGS.slice(0, 50);

const PLURAL = 'shu';

function makeLexicon(): ReadonlyMap<string, string> {
  const random = seededRandom(hashText('vesh'));
  const taken = new Set<string>();
  const lexicon = new Map<string, string>();
  for (const word of [...VESH_NOUNS, ...VESH_ADJECTIVES, ...VESH_VERBS]) {
    let vesh: string;
    do vesh = SYLLABLES[random.below(SYLLABLES.length)] + SYLLABLES[random.below(SYLLABLES.length)];
    while (taken.has(vesh));
    taken.add(vesh);
    lexicon.set(word, vesh);
  }
  return lexicon;
}
const LEXICON = makeLexicon();
/** The Vesh word for an English one. */
export const veshWord = (word: string): string | undefined => LEXICON.get(word);

export interface NounPhrase {
  readonly noun: string;
  readonly adjective?: string;
  readonly plural: boolean;
}
/** Who did what to whom; without a verb, the phrase alone. */
export interface VeshMeaning {
  readonly subject: NounPhrase;
  readonly verb?: string;
  readonly object?: NounPhrase;
}

const englishPhrase = ({ noun, adjective, plural }: NounPhrase): string =>
  `the ${adjective === undefined ? '' : `${adjective} `}${noun}${plural ? 's' : ''}`;
export function english({ subject, verb, object }: VeshMeaning): string {
  const said = [englishPhrase(subject), verb === undefined ? '' : `${verb}ed`, object === undefined ? '' : englishPhrase(object)]
    .filter((part) => part !== '')
    .join(' ');
  return verb === undefined ? said : `${said.charAt(0).toUpperCase()}${said.slice(1)}.`;
}
const vesh = (word: string): string => LEXICON.get(word) ?? word;
// An adjective follows its noun; a plural ends in its own syllable.
const veshPhrase = ({ noun, adjective, plural }: NounPhrase): string =>
  [vesh(noun) + (plural ? PLURAL : ''), adjective === undefined ? '' : vesh(adjective)].filter((part) => part !== '').join(' ');
/** The verb stands last; there are no articles, capitals or full stops. */
export const inVesh = ({ subject, verb, object }: VeshMeaning): string =>
  [veshPhrase(subject), object === undefined ? '' : veshPhrase(object), verb === undefined ? '' : vesh(verb)]
    .filter((part) => part !== '')
    .join(' ');
