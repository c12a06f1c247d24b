import { assistant, conversation, user } from '../document.ts';
import { between, chance, type Draw, fill, isHeldPair, pick, sample, withArticle, word, words, zipf } from '../draw.ts';
import { ADJECTIVES, HELD_THINGS, JOBS, NAMES, NOUNS, PLACES } from '../lexicon.ts';
import type { WorldDocument } from '../types.ts';

const FAMILY = 'summary';

/** A course of events: sentences in order, each in some wordings, and what it comes to. `{o}` is the thing, `{l}` and `{m}` places, `{q}` a second person. */
interface Plot {
  readonly id: string;
  readonly told: readonly (readonly string[])[];
  readonly line: string;
  readonly short: string;
}
const PLOTS: readonly Plot[] = [
  {
    id: 'lost',
    told: [
      ['One day {p} went to {l}.', '{p} walked to {l} in the morning.'],
      ['On the way {p} lost {a}.', 'There the {o} of {p} was gone.'],
      ['{p} looked for it all day.', '{p} searched under every stone.'],
      ['At last {q} found it.', 'In the end {q} had seen it.'],
    ],
    line: '{p} lost {a} in {l} and {q} found it.',
    short: '{q} found the {o}.',
  },
  {
    id: 'gift',
    told: [
      ['{p} wanted to visit {q}.', 'It was the day of {q}.'],
      ['In {l} {p} bought {a}.', '{p} went to {l} and bought {a}.'],
      ['{p} packed it well.', 'It was wrapped in paper.'],
      ['{q} was very happy.', '{q} thanked {p} for it.'],
    ],
    line: '{p} bought {a} in {l} as a gift for {q}.',
    short: '{q} got the {o}.',
  },
  {
    id: 'repair',
    told: [
      ['The {o} of {p} was broken.', '{p} had a broken {o}.'],
      ['So {p} took it to {l}.', '{p} carried it to {l}.'],
      ['There {q} looked at it.', '{q} worked on it for an hour.'],
      ['Now it is like new.', 'Then it was good again.'],
    ],
    line: '{q} repaired the {o} of {p} in {l}.',
    short: '{q} repaired the {o}.',
  },
  {
    id: 'sale',
    told: [
      ['{p} needed money.', '{p} had no money left.'],
      ['{p} took {a} to {l}.', 'There was {a} at home, and {p} took it to {l}.'],
      ['Many people looked at it.', 'At first nobody wanted it.'],
      ['Then {q} paid a good price.', 'In the evening {q} paid for it.'],
    ],
    line: '{p} sold {a} to {q} in {l}.',
    short: '{q} has the {o}.',
  },
  {
    id: 'storm',
    told: [
      ['{p} and {q} set out for {l}.', '{p} and {q} were on the road to {l}.'],
      ['A storm came up.', 'Then the sky turned dark.'],
      ['They waited in a hut.', 'They stayed under a tree for hours.'],
      ['In the night they came home with only {a}.', 'They turned back with {a}.'],
    ],
    line: 'A storm kept {p} and {q} from {l}.',
    short: 'The storm won.',
  },
  {
    id: 'thief',
    told: [
      ['{p} left {a} by the door.', 'The {o} of {p} stood outside.'],
      ['In the night it was gone.', 'When {p} woke up, it was not there.'],
      ['{p} asked in all of {l}.', 'All of {l} helped to search.'],
      ['It was {q} who had it.', '{q} had taken it.'],
    ],
    line: '{q} took the {o} of {p} in {l}.',
    short: '{q} took the {o}.',
  },
  {
    id: 'lesson',
    told: [
      ['{p} wanted to learn from {q}.', '{q} knew a lot, and {p} did not.'],
      ['They met in {l} each week.', '{p} went to {l} every day.'],
      ['First {q} showed {a}.', '{p} had to work with {a}.'],
      ['Now {p} can do it alone.', 'After a year {p} needed no help.'],
    ],
    line: '{q} taught {p} in {l} with {a}.',
    short: '{p} learned it.',
  },
  {
    id: 'race',
    told: [
      ['{p} and {q} ran to {l}.', 'There was a race to {l}.'],
      ['{q} was fast at first.', 'At first {p} was far behind.'],
      ['Then {q} fell over {a}.', 'Near the end {q} stopped for {a}.'],
      ['{p} came in first.', 'So {p} won.'],
    ],
    line: '{p} won the race to {l} since {q} stopped for {a}.',
    short: '{p} won.',
  },
];
const ASIDES = [
  'The day was {j}.',
  'That week was {j}.',
  'By the road sat {a}.',
  'People there are {j}.',
  'The {n} of a neighbour was {j}.',
  'There was talk of {b}.',
];
/** What is asked for; the first wording of each is the common one. */
const ASKS = {
  line: [
    'Sum it up in one line.',
    'Summary:',
    'Sum up the story.',
    'What happened, in one line?',
    'Give a short summary.',
    'Say it in one sentence.',
  ],
  short: ['Sum it up in a few words.', 'In a few words:', 'What came of it, in a few words?', 'Give the end in a few words.'],
  list: ['Sum it up as a list.', 'Make a list: who, where, what.', 'Give a list of who, where and what.'],
  title: ['Give it a title.', 'Find a title.', 'What is a good title?'],
} as const;
export type SummaryForm = keyof typeof ASKS;

export interface SummaryOptions {
  readonly form?: SummaryForm;
  readonly kind?: 'story' | 'dialogue';
}

/** Family F: what a story or a talk comes to, in the length and form that is asked for. */
export function summary(draw: Draw, options: SummaryOptions = {}): WorldDocument {
  return (options.kind ?? (chance(draw, 0.3) ? 'dialogue' : 'story')) === 'dialogue' ? dialogue(draw, options) : story(draw, options);
}

function story(draw: Draw, options: SummaryOptions): WorldDocument {
  const [p, q] = words(draw, FAMILY, NAMES, 2);
  const l = word(draw, FAMILY, PLACES);
  let o = zipf(draw, HELD_THINGS, 20);
  let plot = pick(draw, PLOTS);
  // Which thing goes with which course of events is what the tests hold out.
  while (isHeldPair(FAMILY, plot.id, o) !== (draw.split === 'held')) {
    o = zipf(draw, HELD_THINGS, 20);
    plot = pick(draw, PLOTS);
  }
  const values = { p, q, l, o, a: withArticle(o) };
  const told = plot.told.map((wordings) => fill(zipf(draw, wordings, 1), values));
  for (let n = between(draw, 0, 4); n > 0; n--) told.splice(between(draw, 1, told.length), 0, aside(draw));
  const form = options.form ?? pick(draw, ['line', 'line', 'line', 'short', 'list', 'title'] as const);
  const said = {
    line: fill(plot.line, values),
    short: fill(plot.short, values),
    list: `- who: ${p} and ${q}\n- where: ${l}\n- what: ${o}`,
    title: `${p} and the ${o}`,
  }[form];
  return conversation(FAMILY, [user(framed(draw, told.join(' '), zipf(draw, ASKS[form], 1))), assistant(said)], {
    kind: 'story',
    form,
    plot: plot.id,
    sentences: told.length,
  });
}
function aside(draw: Draw): string {
  const n = zipf(draw, NOUNS, 20);
  const j = zipf(draw, ADJECTIVES, 20);
  return fill(pick(draw, ASIDES), { n, j, a: withArticle(n), b: withArticle(`${j} ${n}`) });
}
const framed = (draw: Draw, text: string, question: string): string => {
  const shape = draw.random.next();
  return shape < 0.6 ? `${text}\n${question}` : shape < 0.85 ? `${question}\n${text}` : `${text} ${question}`;
};

const TIMES = ['at noon', 'at night', 'today', 'in the morning', 'in the evening', 'on Monday', 'on Friday', 'on Sunday'];
function dialogue(draw: Draw, options: SummaryOptions): WorldDocument {
  const [p, q] = words(draw, FAMILY, NAMES, 2);
  const l = word(draw, FAMILY, PLACES);
  const [time, other] = sample(draw, TIMES, 2);
  const thing = zipf(draw, HELD_THINGS, 20);
  const values = { p, q, l, t: time, u: other, a: withArticle(thing), o: thing, b: withArticle(zipf(draw, JOBS)) };
  const form = options.form === 'short' || options.form === 'line' ? options.form : chance(draw, 0.7) ? 'line' : 'short';
  const moved = chance(draw, 0.5);
  const lines = [
    fill(pick(draw, ['{p}: Shall we meet in {l}?', '{p}: Can you come to {l}?', '{p}: I will be in {l}. Will you come?']), values),
    ...(moved
      ? [
          fill(pick(draw, ['{q}: Yes. Is {u} good?', '{q}: I can come {u}.']), values),
          fill(pick(draw, ['{p}: No, {t} is better.', '{p}: Not {u}. Come {t}.']), values),
        ]
      : [fill(pick(draw, ['{q}: Yes, {t}.', '{q}: I can come {t}.']), values)]),
    fill(pick(draw, ['{q}: Good. I will bring {a}.', '{q}: Fine, and I bring {a}.', '{q}: Then I come with {a}.']), values),
    ...(chance(draw, 0.4) ? [fill(pick(draw, ['{p}: I know {b} there.', '{p}: Thank you.', '{p}: That is kind.']), values)] : []),
  ];
  const said = fill(form === 'line' ? '{p} and {q} meet in {l} {t}, and {q} brings {a}.' : '{p} and {q} meet {t}.', values);
  return conversation(FAMILY, [user(framed(draw, lines.join('\n'), zipf(draw, ASKS[form], 1))), assistant(said)], {
    kind: 'dialogue',
    form,
    plot: 'meeting',
    sentences: lines.length,
  });
}
