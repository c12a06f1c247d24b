import { assistant, conversation, user } from '../document.ts';
import { between, chance, type Draw, fill, pick, word, zipf } from '../draw.ts';
import { COUNTED, NAMES } from '../lexicon.ts';
import type { WorldDocument } from '../types.ts';

const FAMILY = 'arithmetic';

/** Ways to ask for the steps; the first ones are common. */
export const STEP_PHRASES = [
  'Think step by step.',
  'Think step by step. Then write only the answer on a last line that begins with "Answer:".',
  "Let's think step by step.",
  'Show your steps.',
  'Work it out step by step.',
  'Solve it step by step.',
  'First write the steps, then the answer.',
  'Count in steps.',
  'Explain your steps.',
  'Go step by step.',
  'Write down each step.',
  'Take it one step at a time.',
  'Use steps.',
];
/** Ways to ask for the number alone. */
export const DIRECT_PHRASES = [
  'Only the number.',
  'Answer with the number only.',
  'Just the number.',
  'No steps.',
  'Give the number at once.',
  'Answer only.',
];

const GAINS = ['{p} gets {q} more.', '{p} finds {q} more.', '{p} buys {q} more.', 'A friend gives {p} {q} more.', 'Then {q} more come.'];
const LOSSES = ['{p} loses {q}.', '{p} gives away {q}.', '{p} sells {q}.', '{p} breaks {q}.', 'Then {q} are gone.'];
const STARTS = ['{p} has {v} {x}.', '{p} has {v} {x}.', 'In the bag of {p} one can count {v} {x}.', 'At first {p} has {v} {x}.'];
const ASKS = ['How many {x} are there now?', 'How many {x} does {p} have now?', 'How many {x} are left?', 'How many now?'];

/** What stands between a question and how to answer it: the app puts its cue into a paragraph of its own. */
export const gap = (draw: Draw): string => pick(draw, [' ', ' ', '\n', '\n\n']);

export interface ArithmeticOptions {
  readonly steps?: number;
  readonly how?: 'direct' | 'steps';
  /** The phrase that says so; '' leaves it out, which means the number alone. */
  readonly phrase?: string;
}

/** Which first numbers go with a thing is held out: a tenth of the pairings. */
export const heldStart = (thing: string, start: number): boolean => (thing.length * 7 + thing.charCodeAt(0) + start * 3) % 10 === 4;

/** Family G: a story of gains and losses, one number at the end. Half of them ask for the steps. */
export function arithmetic(draw: Draw, options: ArithmeticOptions = {}): WorldDocument {
  const steps = options.steps ?? between(draw, 1, 4);
  const how = options.how ?? pick(draw, ['direct', 'steps'] as const);
  const person = word(draw, FAMILY, NAMES);
  let thing = zipf(draw, COUNTED, 20);
  let total = between(draw, 1, 12);
  while (heldStart(thing, total) !== (draw.split === 'held')) {
    thing = zipf(draw, COUNTED, 20);
    total = between(draw, 1, 12);
  }
  const values = { p: person, x: `${thing}s` };
  const story = [fill(zipf(draw, STARTS, 1), { ...values, v: total, ...(total === 1 ? { x: thing } : {}) })];
  const work: string[] = [];
  for (let i = 0; i < steps; i++) {
    const change = between(draw, 1, 9);
    const loses = total >= change && chance(draw, 0.5);
    const after = loses ? total - change : total + change;
    story.push(fill(zipf(draw, loses ? LOSSES : GAINS, 1), { ...values, q: change }));
    work.push(`${total}${loses ? '-' : '+'}${change}=${after};`);
    total = after;
  }
  story.push(fill(zipf(draw, ASKS, 1), values));
  const silent = how === 'direct' && chance(draw, 0.25);
  const phrase = options.phrase ?? (how === 'steps' ? zipf(draw, STEP_PHRASES, 1) : silent ? '' : zipf(draw, DIRECT_PHRASES, 1));
  const asked = phrase === '' ? story.join(' ') : story.join(' ') + gap(draw) + phrase;
  return conversation(
    FAMILY,
    [user(asked), assistant(how === 'steps' ? `${work.join(' ')}\nAnswer: ${total}` : String(total))],
    { steps, how, answer: total },
    [{ rule: 'last-number', value: total }],
  );
}
