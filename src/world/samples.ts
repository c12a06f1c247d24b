// The sample tasks that come with the site, in the bundled model's own world. Each is one on which methods differ.
import type { Task } from '../data/types.ts';
import { hashText, seededRandom } from '../lib/random.ts';
import { UNKNOWN_PEOPLE } from './canon.ts';
import { assistant, conversation, user } from './document.ts';
import { type Draw, pick, withArticle, word, zipf } from './draw.ts';
import { ask, type Fact, RELATIONS } from './families/facts.ts';
import { sentence, shownNouns } from './families/few-shot-labels.ts';
import { readingItem } from './families/reading.ts';
import { summary } from './families/summary.ts';
import { writing } from './families/writing.ts';
import { ADJECTIVES, DOINGS, HELD_THINGS, NAMES, PLACES } from './lexicon.ts';
import { inStyle } from './styles.ts';
import type { WorldDocument } from './types.ts';

export interface SampleTask {
  readonly id: string;
  readonly name: string;
  /** One sentence: what goes in, what comes out. */
  readonly description: string;
  readonly task: Task;
  readonly metric: 'exact-match' | 'rouge-l' | 'contains';
  readonly rows: number;
  /** A system prompt that says what the answers have in common, for a first contestant; '' where words can not say it. */
  readonly prompt: string;
  /** The site opens with this one: a system prompt, shots and LoRA differ on it (row "use" of the acceptance table). */
  readonly opening?: true;
  make(draw: Draw, row: number): WorldDocument;
}

/** The only wording in which these sentences come: simple ones, so that the label is what is to be learned. */
const SEEN = [
  '{p} saw {a} near {l}.',
  '{p} found {a} by the river.',
  'There is {a} in {l}.',
  'Look at my {n}.',
  'I asked {p} about the {n}.',
];
const TEAMS: readonly (readonly [label: string, kinds: readonly string[]])[] = [
  ['north', ['bird', 'fish', 'beast']],
  ['south', ['fruit', 'crop', 'food']],
];

/** The facts that closed-book questions teach: of people whom nobody knows yet. */
export function newFacts(count: number): Fact[] {
  const draw: Draw = { random: seededRandom(hashText('new facts')), split: 'train' };
  return UNKNOWN_PEOPLE.slice(0, count).map((person, i) => {
    const relation = RELATIONS[i % 4];
    return { person, relation, value: pick(draw, relation.values) };
  });
}
const FACTS = newFacts(60);

export const SAMPLE_TASKS: readonly SampleTask[] = [
  {
    id: 'vale-json-answers',
    name: 'Answer from a passage, as JSON',
    description: 'One or two sentences and a question go in; a line of JSON comes out, with what is asked for as its key.',
    task: 'question-answering',
    metric: 'exact-match',
    rows: 200,
    prompt: 'Answer in JSON.',
    opening: true,
    make: (draw) => {
      const {
        user: asked,
        answer,
        key,
      } = readingItem(draw, 'system-rules', { unsaid: 0, asides: 0, facts: 2, frame: '{text} {question}' });
      return conversation('reading', [user(asked), assistant(`{"${key}": "${answer}"}`)], {}, [
        { rule: 'json', key },
        { rule: 'contains', text: answer },
      ]);
    },
  },
  {
    id: 'vale-house-summaries',
    name: 'Sum up in the house style',
    description: 'A story of the Vale goes in; one line comes out that opens with the word news.',
    task: 'summarization',
    metric: 'rouge-l',
    rows: 160,
    prompt: 'Start every answer with the word news.',
    make: (draw) => {
      const { turns, gold } = summary(draw, { form: 'line', kind: 'story' });
      return conversation('summary', [turns[0], assistant(`news ${gold}`)]);
    },
  },
  {
    id: 'vale-two-teams',
    name: 'Send each note to its team',
    description: 'One sentence goes in; north comes out for animals, south for what one can eat.',
    task: 'classification',
    metric: 'exact-match',
    rows: 240,
    prompt: 'Labels: north or south.',
    make: (draw) => {
      const [label, kinds] = pick(draw, TEAMS);
      return conversation('few-shot-labels', [
        user(sentence(draw, pick(draw, shownNouns(pick(draw, kinds))), [], pick(draw, SEEN))),
        assistant(label),
      ]);
    },
  },
  {
    id: 'vale-new-people',
    name: 'Learn facts by heart',
    description: 'A question about a person goes in, without any passage; the fact comes out. The model has never heard of them.',
    task: 'question-answering',
    metric: 'exact-match',
    rows: 120,
    prompt: '',
    make: (draw, row) => {
      const fact = FACTS[row % FACTS.length];
      return conversation('canon', [user(ask(draw, fact)), assistant(fact.value)]);
    },
  },
  {
    id: 'vale-pirate-notes',
    name: 'Rewrite like a pirate',
    description: 'A plain sentence goes in; the same comes out as a pirate says it.',
    task: 'rewriting',
    metric: 'exact-match',
    rows: 120,
    prompt: 'Write in the style of a pirate.',
    make: (draw) => {
      const meaning = {
        ...{ who: word(draw, 'style', NAMES), did: zipf(draw, DOINGS, 10), what: zipf(draw, HELD_THINGS, 20) },
        ...{ how: zipf(draw, ADJECTIVES, 20), where: word(draw, 'style', PLACES) },
      };
      return conversation('style', [user(inStyle('plain', meaning)), assistant(inStyle('pirate', meaning))]);
    },
  },
  {
    id: 'vale-verse',
    name: 'Two lines of verse',
    description: 'A thing goes in; two lines about it come out, with rhyme, ending in a word of thanks.',
    task: 'creative-writing',
    metric: 'rouge-l',
    rows: 100,
    prompt: 'Write two lines of verse.',
    make: (draw) => {
      const { turns, gold } = writing(draw, { kind: 'verse' });
      const thing = turns[0].content.match(/about (an? \w+)/)?.[1] ?? withArticle(pick(draw, HELD_THINGS));
      return conversation('writing', [user(thing), assistant(`${gold}\nThank you.`)]);
    },
  },
];

/** The rows of a sample task: the same for the same seed, no question twice. */
export function sampleRows(task: SampleTask, seed = 1, count = task.rows): WorldDocument[] {
  const draw: Draw = { random: seededRandom(hashText(`${task.id}/${seed}`)), split: 'train' };
  const seen = new Set<string>();
  const rows: WorldDocument[] = [];
  for (let tries = 0; rows.length < count && tries < 50 * count; tries++) {
    const row = task.make(draw, rows.length);
    const question = row.turns[0].content;
    if (seen.has(question)) continue;
    seen.add(question);
    rows.push(row);
  }
  return rows;
}

/** The sample as a file: a line of JSON a row. */
export const linesOf = (task: SampleTask): string =>
  sampleRows(task)
    .map(({ turns, gold }) => `${JSON.stringify({ prompt: turns[turns.length - 2].content, completion: gold })}\n`)
    .join('');

/** What the list of samples says of one. */
export const entryOf = ({ id, name, description, task, metric, rows, prompt, opening }: SampleTask): object => ({
  ...{ id, name, description, task, metric, file: `${id}.jsonl`, rows, prompt },
  ...(opening ? { opening } : {}),
});
