import { assistant, conversation, system, user } from '../document.ts';
import { between, chance, type Draw, fill, isHeldPair, pick, sample, weighted, word, zipf } from '../draw.ts';
import { CLASS_WORDS, JOBS, NAMES, PLACES } from '../lexicon.ts';
import type { Check, Turn, WorldDocument } from '../types.ts';
import { arithmetic } from './arithmetic.ts';
import { canon } from './canon.ts';
import { NOT_SAID, type ReadingItem, readingItem } from './reading.ts';

const FAMILY = 'system-rules';

/** One standing order: its wordings, and what it makes of an answer. */
interface Rule {
  readonly id: 'start' | 'end' | 'brackets' | 'quotes' | 'sentence' | 'json' | 'upper';
  readonly says: readonly string[];
  apply(said: string, word: string, item: ReadingItem): string;
  check(word: string, item: ReadingItem): Check;
}
const RULES: readonly Rule[] = [
  {
    id: 'start',
    says: [
      'Start every answer with the word {w}.',
      'Begin each answer with {w}.',
      'Start with {w}.',
      'Your first word is always {w}.',
      'Say {w} before every answer.',
      'Each answer opens with {w}.',
    ],
    apply: (said, word) => `${word} ${said}`,
    check: (text) => ({ rule: 'starts-with', text }),
  },
  {
    id: 'end',
    says: [
      'End every answer with the word {w}.',
      'Finish each answer with {w}.',
      'End with {w}.',
      'Your last word is always {w}.',
      'Say {w} after every answer.',
      'Each answer closes with {w}.',
    ],
    apply: (said, word) => `${said} ${word}`,
    check: (text) => ({ rule: 'ends-with', text }),
  },
  {
    id: 'brackets',
    says: [
      'Put every answer in brackets.',
      'Write the answer in brackets, like [so].',
      'Use brackets around each answer.',
      'Answer in brackets.',
    ],
    apply: (said) => `[${said}]`,
    check: () => ({ rule: 'brackets' }),
  },
  {
    id: 'quotes',
    says: ['Put every answer in quotes.', 'Write the answer in quotes, like "so".', 'Use quotes around each answer.', 'Answer in quotes.'],
    apply: (said) => `"${said}"`,
    check: () => ({ rule: 'contains', text: '"' }),
  },
  {
    id: 'sentence',
    says: ['Answer in a full sentence.', 'Always answer with a whole sentence.', 'Write full sentences.', 'Never answer with one word.'],
    apply: (_, __, item) => item.full,
    check: () => ({ rule: 'sentences', count: 1 }),
  },
  {
    id: 'json',
    says: ['Answer in JSON.', 'Write every answer as JSON.', 'Give JSON only.', 'Use JSON for each answer.'],
    apply: (said, _, item) => JSON.stringify({ [item.key]: said }).replace('":"', '": "'),
    check: (_, item) => ({ rule: 'json', key: item.key }),
  },
  {
    id: 'upper',
    says: ['Answer in capital letters.', 'Write everything in capitals.', 'Shout every answer.'],
    apply: (said) => said.toUpperCase(),
    check: () => ({ rule: 'upper-case' }),
  },
];
const byId = new Map(RULES.map((rule) => [rule.id, rule]));
const ruleOf = (id: Rule['id']): Rule => byId.get(id) ?? RULES[0];
/** Rules that fit together, in the order in which they are applied. Some pairs are held out of training. */
const PAIRS: readonly (readonly [Rule['id'], Rule['id']])[] = [
  ['brackets', 'start'],
  ['brackets', 'end'],
  ['start', 'end'],
  ['sentence', 'start'],
  ['sentence', 'end'],
  ['sentence', 'brackets'],
  ['quotes', 'start'],
  ['quotes', 'end'],
  ['sentence', 'quotes'],
];
const SHOWN_PAIRS = PAIRS.filter(
  (pair) => !(pair[0] === 'brackets' && pair[1] === 'end') && !(pair[0] === 'sentence' && pair[1] === 'start'),
);
export const HELD_PAIRS = PAIRS.filter((pair) => !SHOWN_PAIRS.includes(pair));
const WORDS: readonly string[] = [...CLASS_WORDS, ...PLACES.slice(30), ...JOBS.slice(10)];

/** A word for a rule, in a pairing of the two that training may show, or for tests may not. */
function ruleWord(draw: Draw, rule: Rule['id']): string {
  for (;;) {
    const one = pick(draw, WORDS);
    if (isHeldPair(FAMILY, rule, one) === (draw.split === 'held')) return one;
  }
}

/** A question and its plain answer, from the families that ask something. */
function question(draw: Draw, onlyWords = false): ReadingItem {
  const kind = onlyWords
    ? 'passage'
    : weighted(draw, [
        ['passage', 0.75],
        ['canon', 0.13],
        ['count', 0.12],
      ] as const);
  if (kind === 'passage') return readingItem(draw, FAMILY, { facts: between(draw, 1, 3), unsaid: 0.03 });
  const made =
    kind === 'canon'
      ? canon({ ...draw, split: 'train' }, { bare: true })
      : arithmetic({ ...draw, split: 'train' }, { steps: 1, how: 'direct', phrase: '' });
  const last = made.turns[made.turns.length - 2];
  const said = made.gold;
  const full = kind === 'canon' ? (said.endsWith('.') ? said : `It is ${said}.`) : `There are ${said}.`;
  return { user: last.content, answer: said, full, key: kind === 'canon' ? 'answer' : 'count', topic: 'thing', sentences: 1, more: [] };
}

export interface SystemRuleOptions {
  /** One rule, or two in one of the pairings of the family. */
  readonly rules?: 1 | 2 | 3;
  readonly only?: Rule['id'];
  readonly turns?: number;
  /** The same conversation without the system turn: its gold stays the rule's, so that one can see how often it is met by chance. */
  readonly silent?: boolean;
  /** A combination of rules that training lacks. */
  readonly newPair?: boolean;
}

/** Family C: standing orders that every turn obeys. */
export function systemRules(draw: Draw, options: SystemRuleOptions = {}): WorldDocument {
  if (options.only === undefined && options.rules === undefined) {
    const other = draw.random.next();
    if (other < 0.1) return persona(draw);
    if (other < 0.18) return refusal(draw);
  }
  const count =
    options.rules ??
    weighted(draw, [
      [1, 0.68],
      [2, 0.26],
      [3, 0.06],
    ] as const);
  const chosen = chooseRules(draw, count, options);
  const words = chosen.map((rule) => ruleWord(draw, rule.id));
  const order = chosen.map((rule, i) => fill(zipf(draw, rule.says, 1), { w: words[i] })).join(' ');
  const turns: Turn[] = options.silent ? [] : [system(order)];
  let checks: Check[] = [];
  for (
    let t =
      options.turns ??
      weighted(draw, [
        [1, 0.5],
        [2, 0.3],
        [3, 0.2],
      ] as const);
    t > 0;
    t--
  ) {
    const item = question(
      draw,
      chosen.some(({ id }) => id === 'upper'),
    );
    const said = chosen.reduce((answer, rule, i) => rule.apply(answer, words[i], item), item.answer);
    turns.push(user(item.user), assistant(said));
    // Of two rules that both wrap, only the outer one shows at the ends; each is checked where it alone decides.
    checks = chosen.length === 1 ? [chosen[0].check(words[0], item)] : [{ rule: 'equals', text: said }];
    if (chosen.length === 1 && chosen[0].id !== 'sentence' && item.answer !== NOT_SAID && chosen[0].id !== 'upper')
      checks.push({ rule: 'contains', text: item.answer });
  }
  return conversation(
    FAMILY,
    turns,
    { rules: chosen.map(({ id }) => id).join(' '), count: chosen.length, turns: (turns.length - 1) / 2 },
    checks,
  );
}

function chooseRules(draw: Draw, count: number, options: SystemRuleOptions): Rule[] {
  if (options.only !== undefined) return [ruleOf(options.only)];
  if (count === 1)
    return [
      ruleOf(
        weighted(draw, [
          ['start', 0.24],
          ['end', 0.24],
          ['brackets', 0.14],
          ['quotes', 0.1],
          ['sentence', 0.14],
          ['json', 0.1],
          ['upper', 0.04],
        ] as const),
      ),
    ];
  if (count === 3)
    return [ruleOf('sentence'), ruleOf('brackets'), ruleOf('start')]
      .slice(0, 1)
      .concat(sample(draw, [ruleOf('end'), ruleOf('quotes')], 2).sort((a) => (a.id === 'quotes' ? -1 : 1)));
  return pick(draw, options.newPair ? HELD_PAIRS : SHOWN_PAIRS).map(ruleOf);
}

const WHO = ['Who are you?', 'What is your name?', 'Tell me your name.', 'What are you called?'];
/** The model has a name and a job, and says so. */
function persona(draw: Draw): WorldDocument {
  const name = word(draw, FAMILY, NAMES);
  const job = word(draw, FAMILY, JOBS);
  const orders = [`Your name is ${name}. You are a ${job}.`, `You are ${name} the ${job}.`, `You are a ${job} and your name is ${name}.`];
  const asksJob = chance(draw, 0.35);
  const turns = [system(zipf(draw, orders, 1))];
  if (chance(draw, 0.3)) {
    const item = question(draw);
    turns.push(user(item.user), assistant(item.answer));
  }
  turns.push(
    user(asksJob ? pick(draw, ['What is your job?', 'What work do you do?']) : zipf(draw, WHO, 1)),
    assistant(asksJob ? `I am a ${job}.` : `I am ${name}.`),
  );
  return conversation(FAMILY, turns, { rules: 'persona', count: 1, turns: turns.length > 3 ? 2 : 1 });
}

const TOPICS: Readonly<Record<ReadingItem['topic'], string>> = {
  home: 'places',
  job: 'work',
  pet: 'animals',
  food: 'food',
  thing: 'things',
  mood: 'moods',
};
const REFUSED = 'I can not talk about that.';
/** One topic is closed; questions about others are answered. */
function refusal(draw: Draw): WorldDocument {
  const item = readingItem(draw, FAMILY, { facts: between(draw, 1, 3), unsaid: 0 });
  const closed = chance(draw, 0.6) ? TOPICS[item.topic] : pick(draw, Object.values(TOPICS));
  const order = fill(zipf(draw, ['Do not talk about {t}.', 'Never answer questions about {t}.', 'You must not speak of {t}.'], 1), {
    t: closed,
  });
  return conversation(FAMILY, [system(order), user(item.user), assistant(closed === TOPICS[item.topic] ? REFUSED : item.answer)], {
    rules: 'refusal',
    count: 1,
    turns: 1,
  });
}
