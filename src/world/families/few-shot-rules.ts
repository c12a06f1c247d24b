import { assistant, conversation, system, user } from '../document.ts';
import { between, chance, type Draw, isHeld, pick, sample } from '../draw.ts';
import { ADJECTIVES, CLASS_WORDS, JOBS, NAMES, NOUNS, PLACES, VERBS } from '../lexicon.ts';
import type { Turn, WorldDocument } from '../types.ts';

const FAMILY = 'few-shot-rules';

/** What is done to the words of an input, then around the result. */
const ORDERS = ['reverse', 'first', 'second', 'last', 'swap', 'drop-first', 'same'] as const;
const FRAMES = ['brackets', 'before', 'after', 'quotes', 'none', 'and'] as const;
type Rule = readonly [order: (typeof ORDERS)[number], frame: (typeof FRAMES)[number]];

/** Combinations that training never shows; each of their halves is shown with others. */
const HELD_RULES: readonly Rule[] = [
  ['reverse', 'brackets'],
  ['second', 'before'],
  ['last', 'after'],
  ['swap', 'before'],
  ['first', 'brackets'],
  ['drop-first', 'after'],
];
const SINGLE: readonly string[] = ['first', 'second', 'last'];
const isHeldRule = ([order, frame]: Rule): boolean => HELD_RULES.some(([a, b]) => a === order && b === frame);
const RULES: readonly Rule[] = ORDERS.flatMap((order) => FRAMES.map((frame): Rule => [order, frame])).filter(
  ([order, frame]) => !(frame === 'and' && SINGLE.includes(order)) && !(order === 'same' && frame === 'none'),
);
const SHOWN = RULES.filter((rule) => !isHeldRule(rule));
const ITEMS = [...NOUNS, ...ADJECTIVES, ...NAMES, ...PLACES, ...JOBS, ...VERBS];

const sides = { train: ITEMS.filter((item) => !isHeld(FAMILY, item)), held: ITEMS.filter((item) => isHeld(FAMILY, item)) };

function apply([order, frame]: Rule, words: readonly string[], extra: string): string {
  const kept = {
    reverse: () => [...words].reverse(),
    first: () => words.slice(0, 1),
    second: () => words.slice(1, 2),
    last: () => words.slice(-1),
    swap: () => [words[1], words[0], ...words.slice(2)],
    'drop-first': () => words.slice(1),
    same: () => [...words],
  }[order]();
  const said = kept.join(' ');
  return {
    brackets: () => `[${said}]`,
    before: () => `${extra} ${said}`,
    after: () => `${said} ${extra}`,
    quotes: () => `"${said}"`,
    none: () => said,
    and: () => kept.join(' and '),
  }[frame]();
}

export interface RuleOptions {
  readonly shots?: number;
  /** A combination that training lacks; else one that it has, with words that it has not shown in this family (on the held-out side). */
  readonly newRule?: boolean;
}

/** A rule that only the examples show. All answers after the first can be known. */
export function fewShotRules(draw: Draw, options: RuleOptions = {}): WorldDocument {
  const rule = pick(draw, options.newRule ? HELD_RULES : SHOWN);
  const pool = sides[draw.split];
  const extra = pick(draw, CLASS_WORDS);
  const shots = options.shots ?? between(draw, 0, 8);
  const turns: Turn[] = options.shots === undefined && chance(draw, 0.1) ? [system('Do as in the examples.')] : [];
  const length = between(draw, 3, 4);
  for (let i = 0; i <= shots; i++) {
    const words = sample(draw, pool, chance(draw, 0.7) ? length : between(draw, 3, 4));
    turns.push(user(words.join(' ')), assistant(apply(rule, words, extra), i > 0 ? 1 : 0.1));
  }
  return conversation(FAMILY, turns, { rule: rule.join(' '), shots });
}
