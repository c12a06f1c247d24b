import type { Example, Task } from '../data/types.ts';
import { median } from '../lib/stats.ts';
import { normalizeAnswer } from './normalize.ts';
import { tokenF1Of } from './token-f1.ts';

export interface MetricProposal {
  readonly metricId: string;
  /** One sentence with numbers: what the answers look like and what follows. */
  readonly why: string;
}

/** What the answers of a set of rows look like. Lengths in words. */
interface Shape {
  readonly n: number;
  readonly labels: number;
  readonly severalTargets: number;
  readonly answerWords: number;
  readonly inputWords: number;
  readonly longestAnswer: number;
  readonly multiTurn: number;
  readonly asking: number;
  readonly inside: number;
  readonly numbers: number;
  readonly overlap: number;
}

const wordCount = (text: string): number => text.trim().split(/\s+/u).filter(Boolean).length;
const share = (examples: readonly Example[], test: (example: Example) => boolean): number =>
  examples.length === 0 ? 0 : examples.filter(test).length / examples.length;
const inputOf = ({ messages }: Example): string =>
  messages.findLast(({ role }) => role === 'user')?.content ?? messages.at(-1)?.content ?? '';

function shapeOf(examples: readonly Example[]): Shape {
  const rows = examples.filter(({ targets }) => targets.length > 0);
  const answers = rows.map(({ targets }) => targets[0]);
  return {
    n: rows.length,
    labels: new Set(answers.map(normalizeAnswer)).size,
    severalTargets: share(rows, ({ targets }) => targets.length > 1),
    answerWords: median(answers.map(wordCount)),
    inputWords: median(rows.map((row) => wordCount(inputOf(row)))),
    longestAnswer: answers.reduce((longest, answer) => Math.max(longest, wordCount(answer)), 0),
    multiTurn: share(rows, ({ messages }) => messages.some(({ role }) => role === 'assistant')),
    asking: share(rows, (row) => /[?？؟]/u.test(inputOf(row))),
    inside: share(rows, (row) => ` ${normalizeAnswer(inputOf(row))} `.includes(` ${normalizeAnswer(row.targets[0])} `)),
    numbers: share(rows, ({ targets }) => /^[-+]?[\d.,\s]+%?$/u.test(targets[0].trim())),
    overlap: median(rows.map((row) => tokenF1Of(inputOf(row), row.targets[0]))),
  };
}

/** Few labels, each used about twice or more, all short. */
const isLabels = (s: Shape): boolean => s.labels >= 2 && s.labels * 2 <= s.n && s.longestAnswer <= 6 && s.answerWords <= 3;

/** The kind of task that the rows look like. A proposal: the person decides. */
export function proposeTask(examples: readonly Example[]): Task {
  const s = shapeOf(examples);
  if (s.n === 0) return 'other';
  if (s.multiTurn > 0.5) return 'chat';
  if (s.severalTargets < 0.1 && isLabels(s) && !(s.asking > 0.5 && s.inside > 0.5 && s.labels > 10)) return 'classification';
  if ((s.asking > 0.5 || s.severalTargets >= 0.1) && s.answerWords <= 12) return 'question-answering';
  if (s.inside > 0.8 && s.answerWords <= 12 && s.answerWords <= 0.5 * s.inputWords) return 'extraction';
  if (s.inputWords >= 40 && s.answerWords >= 8 && s.answerWords <= 0.6 * s.inputWords) return 'summarization';
  if (s.answerWords >= 60 && s.inputWords <= 25) return 'creative-writing';
  if (s.overlap >= 0.3 && s.answerWords >= 0.3 * s.inputWords && s.answerWords <= 3 * s.inputWords) return 'rewriting';
  return 'other';
}

const count = (n: number): string => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, '\u202f');

/** The metric that fits the answers, and why. */
export function proposeMetric(examples: readonly Example[]): MetricProposal {
  const s = shapeOf(examples);
  if (s.n === 0) return { metricId: 'exact-match', why: 'No row has an answer yet; exact match is where most tasks start.' };
  const rows = `${count(s.n)} ${s.n === 1 ? 'answer' : 'answers'}`;
  if (s.severalTargets >= 0.1) {
    const several = examples.filter(({ targets }) => targets.length > 1).length;
    return {
      metricId: 'token-f1',
      why: `${count(several)} of ${rows} have several accepted forms, so shared words count: token F1, the best form of each row.`,
    };
  }
  if (isLabels(s)) {
    return { metricId: 'exact-match', why: `The ${rows} are ${count(s.labels)} short labels, so a reply is right or wrong: exact match.` };
  }
  if (s.numbers > 0.9) return { metricId: 'exact-match', why: `The ${rows} are numbers, so a reply is right or wrong: exact match.` };
  const words = `about ${Math.round(s.answerWords)} ${Math.round(s.answerWords) === 1 ? 'word' : 'words'}`;
  if (s.answerWords <= 5) {
    return {
      metricId: 'token-f1',
      why: `The ${rows} have ${words} and can be worded in more than one way, so shared words count: token F1.`,
    };
  }
  return {
    metricId: 'rouge-l',
    why: `The ${rows} have ${words}, too long to match word for word, so their order of words counts: ROUGE-L.`,
  };
}
