// Fresh held-out items for tests and for the trainer's log: what section 6 of the recipe measures, each as a prompt with its answer.
import { hashText, seededRandom } from '../lib/random.ts';
import { KNOWN_PEOPLE } from './canon.ts';
import { assistant, conversation, user } from './document.ts';
import { type Draw, sample } from './draw.ts';
import { arithmetic } from './families/arithmetic.ts';
import { canon } from './families/canon.ts';
import { type EpisodeOptions, labelEpisode, renderEpisode } from './families/few-shot-labels.ts';
import { fewShotRules } from './families/few-shot-rules.ts';
import { kinds } from './families/kinds.ts';
import { reading, readingItem } from './families/reading.ts';
import { style } from './families/style.ts';
import { summary } from './families/summary.ts';
import { systemRules } from './families/system-rules.ts';
import { tracking } from './families/tracking.ts';
import { translation } from './families/translation.ts';
import { writing } from './families/writing.ts';
import type { WorldDocument } from './types.ts';

const COMMON_HEAD = 'Labels: {or}.';
/** One few-shot question: two classes that training never showed together, under labels that it never showed together. */
export function labelQuestion(draw: Draw, options: EpisodeOptions, swap = false): WorldDocument {
  return renderEpisode(labelEpisode(draw, { classes: 2, level: 'kind', balanced: true, head: COMMON_HEAD, ...options }), swap);
}

/** A passage that says other things of known people than everybody knows: the passage is right. */
function contradiction(draw: Draw): WorldDocument {
  const people = sample(draw, KNOWN_PEOPLE, 3);
  for (;;) {
    const item = readingItem(draw, 'reading', { facts: 2, asides: 0, unsaid: 0, people });
    if (item.key !== 'name') return conversation('reading', [user(item.user), assistant(item.answer)], { topic: item.topic });
  }
}

const labels =
  (options: EpisodeOptions, swap = false) =>
  (draw: Draw): WorldDocument =>
    labelQuestion(draw, options, swap);
const arithmeticExams = (steps: number): Readonly<Record<string, (draw: Draw) => WorldDocument>> => ({
  [`arithmetic ${steps} steps`]: (draw) => arithmetic(draw, { steps, how: 'steps' }),
  [`arithmetic ${steps} direct`]: (draw) => arithmetic(draw, { steps, how: 'direct' }),
});
/** By name: what one draws from to ask one such question. Names are what the log and the acceptance table print. */
export const EXAMS: Readonly<Record<string, (draw: Draw) => WorldDocument>> = {
  'labels noun k=0': labels({ form: 'noun', shots: 0 }),
  'labels noun k=1': labels({ form: 'noun', shots: 1 }),
  'labels noun k=4': labels({ form: 'noun', shots: 4 }),
  'labels noun k=8': labels({ form: 'noun', shots: 8 }),
  'labels noun k=4 swapped': labels({ form: 'noun', shots: 4 }, true),
  'labels sentence k=0': labels({ form: 'sentence', shots: 0 }),
  'labels sentence k=4': labels({ form: 'sentence', shots: 4 }),
  'labels sentence k=4 swapped': labels({ form: 'sentence', shots: 4 }, true),
  'labels inline k=4': labels({ form: 'noun', shots: 4, layout: 'inline' }),
  kinds: kinds,
  'rules k=0': (draw) => fewShotRules(draw, { shots: 0 }),
  'rules k=4': (draw) => fewShotRules(draw, { shots: 4 }),
  'rules new k=4': (draw) => fewShotRules(draw, { shots: 4, newRule: true }),
  'system one': (draw) => systemRules(draw, { rules: 1 }),
  'system one silent': (draw) => systemRules(draw, { rules: 1, turns: 1, silent: true }),
  'system one turn 3': (draw) => systemRules(draw, { rules: 1, turns: 3 }),
  'system two': (draw) => systemRules(draw, { rules: 2 }),
  reading: reading,
  canon: (draw) => canon(draw),
  contradiction,
  ...arithmeticExams(1),
  ...arithmeticExams(2),
  ...arithmeticExams(3),
  ...arithmeticExams(4),
  'tracking 3 steps': (draw) => tracking(draw, { steps: 3, how: 'steps' }),
  'tracking 3 direct': (draw) => tracking(draw, { steps: 3, how: 'direct' }),
  'summary line': (draw) => summary(draw, { form: 'line' }),
  style: (draw) => style(draw),
  translation,
  'story constraints': (draw) => writing(draw, { kind: 'story' }),
  'verse constraints': (draw) => writing(draw, { kind: 'verse' }),
};

/** Exams of which an answer can be right and still not be the gold one: only their checks tell. */
export const isOpenEnded = (name: string): boolean => name === 'story constraints' || name === 'verse constraints';

/** `count` questions of one exam, on the held-out side. The same seed gives the same questions; k = 0 and k = 4 of one seed ask alike. */
export function exam(name: string, seed: number, count: number): WorldDocument[] {
  const draw: Draw = { random: seededRandom(hashText(`${name.replace(/ k=\d+/, '')}/${seed}`)), split: 'held' };
  const make = EXAMS[name];
  return Array.from({ length: count }, () => make(draw));
}
