// The rows of the acceptance table that need no training. Names, numbers and thresholds are those of the recipe's section 6.

import { rougeL } from '../../metrics/rouge-l.ts';
import { messagesOf } from '../../world/document.ts';
import { exam } from '../../world/exam.ts';
import type { Bench } from './bench.ts';
import { average, difference, fact, percent, type Row, reported, share, skipped } from './row.ts';

export type RowMaker = (bench: Bench) => Promise<Row[]>;

export async function fewShotLabels(bench: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  for (const form of ['noun', 'sentence']) {
    const none = await bench.passed(`labels ${form} k=0`);
    const four = await bench.passed(`labels ${form} k=4`);
    rows.push(share('1', `labels, ${form}s, 4 shots`, four, 0.9));
    rows.push(difference('1', `labels, ${form}s, 4 shots minus none`, four, none, 0.35));
    rows.push(share('1', `labels, ${form}s, swapped in the shots`, await bench.passed(`labels ${form} k=4 swapped`), 0.85));
  }
  return rows;
}

export async function fewShotRules(bench: Bench): Promise<Row[]> {
  const [none, four] = [await bench.passed('rules k=0'), await bench.passed('rules k=4')];
  return [
    difference('2', 'rules with new words, 4 shots minus none', four, none, 0.25),
    reported('2', 'rules in new combinations, 4 shots', await bench.passed('rules new k=4')),
  ];
}

export async function systemRules(bench: Bench): Promise<Row[]> {
  return [
    share('3', 'one system rule', await bench.passed('system one'), 0.9),
    share('3', 'the same without the system prompt', await bench.passed('system one silent'), 0.05, 'at most'),
    reported('3', 'one system rule, third turn', await bench.passed('system one turn 3')),
    reported('3', 'two system rules', await bench.passed('system two')),
  ];
}

/** At the smallest number of steps where direct answers are under 60 %, which the row names: above it a gap shows depth, not format. */
export async function stepByStep(bench: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  for (let steps = 1; steps <= 4; steps++) {
    const direct = await bench.passed(`arithmetic ${steps} direct`);
    if (direct.right / direct.n < 0.6 || steps === 4) {
      const stepped = await bench.passed(`arithmetic ${steps} steps`);
      rows.push(difference('5', `step by step minus direct, ${steps} steps`, stepped, direct, 0.2));
      return rows;
    }
    rows.push(reported('5', `direct answers, ${steps} step${steps === 1 ? '' : 's'}`, direct));
  }
  return rows;
}
export async function quality(bench: Bench): Promise<Row[]> {
  const stories = exam('summary line', bench.seed, bench.items);
  const replies = await bench.replies(stories.map(messagesOf), undefined, 48);
  const scores = stories.map(({ gold }, i) => rougeL.score(replies[i], { id: '', messages: [], targets: [gold] }));
  return [
    share('12', 'extractive answers, exact', await bench.passed('reading'), 0.85),
    average('12', 'summaries, ROUGE-L', scores, { side: 'at least', value: 0.75, text: '>= 0.75' }, bench.seed),
    share('12', 'Vesh, exact', await bench.passed('translation'), 0.7),
    share('12', 'story constraints kept', await bench.passed('story constraints'), 0.7),
    reported('12', 'verse constraints kept', await bench.passed('verse constraints')),
    reported('12', 'facts by heart, new wordings', await bench.passed('canon')),
  ];
}

export async function contextWins(bench: Bench): Promise<Row[]> {
  return [share('13', 'the passage against what is known by heart', await bench.passed('contradiction'), 0.9)];
}

/** Rows 1, 3 and 5, whose answers in float32 lie beside the model. */
export const COMPARED: readonly string[] = [
  'labels noun k=4',
  'labels sentence k=4',
  'labels noun k=4 swapped',
  'system one',
  'arithmetic 3 steps',
  'arithmetic 3 direct',
];

/** What the trainer's own float32 weights answer to the exams of one seed: shares, and for COMPARED question by question ("1" is right). */
export interface Float32Scores {
  readonly seed: number;
  readonly items: number;
  /** Of training. */
  readonly tokens: number;
  readonly scores: Readonly<Record<string, number>>;
  readonly right: Readonly<Record<string, string>>;
}

/** The same questions to the shipped weights and to the trainer's. An exam of fewer questions is the beginning of one of more. */
export function quantization(reference: Float32Scores | undefined): RowMaker {
  return async (bench) => {
    if (reference === undefined || reference.seed !== bench.seed || reference.items < bench.items)
      return [skipped('14', 'against float32', reference === undefined ? NO_SCORES : otherSeed(reference))];
    const rows: Row[] = [];
    for (const name of COMPARED) {
      const before = [...(reference.right[name] ?? '')].slice(0, bench.items).map((one) => one === '1');
      const after = await bench.exact(name);
      const share = (list: readonly boolean[]): string => percent(list.filter(Boolean).length / list.length);
      const drops = after.map((right, i) => Number(before[i]) - Number(right));
      rows.push(
        average(
          '14',
          `${name}: drop against float32`,
          drops,
          { side: 'at most', value: 0.03, text: '<= 3 points' },
          bench.seed,
          `${share(before)} to ${share(after)}`,
        ),
      );
    }
    return rows;
  };
}
const NO_SCORES = 'no float32-scores.json beside the model';
const otherSeed = ({ seed, items }: Float32Scores): string => `the float32 scores are of seed ${seed} and at most ${items} items`;

export async function weight(bench: Bench): Promise<Row[]> {
  return [
    fact(
      '16',
      'files of the model',
      bench.bytes <= 4e6,
      '<= 4 MB',
      `${(bench.bytes / 1e6).toFixed(2)} MB; the first answer is timed by the browser test`,
    ),
  ];
}
