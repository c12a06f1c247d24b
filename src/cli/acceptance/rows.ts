// The rows of the acceptance table that need no training. Names, numbers and thresholds are those of the recipe's section 6.

import { hashText, seededRandom } from '../../lib/random.ts';
import { rougeL } from '../../metrics/rouge-l.ts';
import { obeys } from '../../world/checkers.ts';
import { messagesOf } from '../../world/document.ts';
import { exam } from '../../world/exam.ts';
import { arithmetic } from '../../world/families/arithmetic.ts';
import type { Bench, Count } from './bench.ts';
import { difference, fact, percent, type Row, reported, share, skipped } from './row.ts';

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
    const [direct, stepped] = [await arithmeticCount(bench, steps, 'direct'), await arithmeticCount(bench, steps, 'steps')];
    if (direct.right / direct.n < 0.6 || steps === 4) {
      rows.push(difference('5', `step by step minus direct, ${steps} steps`, stepped, direct, 0.2));
      return rows;
    }
    rows.push(reported('5', `direct answers, ${steps} step${steps === 1 ? '' : 's'}`, direct));
  }
  return rows;
}
async function arithmeticCount(bench: Bench, steps: number, how: 'direct' | 'steps'): Promise<Count> {
  const draw = { random: seededRandom(hashText(`arithmetic ${steps}/${bench.seed}`)), split: 'held' } as const;
  const documents = Array.from({ length: bench.items }, () => arithmetic(draw, { steps, how }));
  const replies = await bench.replies(documents.map(messagesOf), undefined, 96);
  return {
    right: documents.filter((document, i) => document.checks.every((check) => obeys(check, replies[i]))).length,
    n: documents.length,
  };
}

export async function quality(bench: Bench): Promise<Row[]> {
  const stories = exam('summary line', bench.seed, bench.items);
  const replies = await bench.replies(stories.map(messagesOf), undefined, 48);
  const scores = stories.map(({ gold }, i) => rougeL.score(replies[i], { id: '', messages: [], targets: [gold] }));
  const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
  return [
    share('12', 'extractive answers, exact', await bench.passed('reading'), 0.85),
    fact('12', 'summaries, ROUGE-L', mean >= 0.75, '>= 0.75', mean.toFixed(3), stories.length),
    share('12', 'Vesh, exact', await bench.passed('translation'), 0.7),
    share('12', 'story constraints kept', await bench.passed('story constraints'), 0.7),
    reported('12', 'verse constraints kept', await bench.passed('verse constraints')),
    reported('12', 'facts by heart, new wordings', await bench.passed('canon')),
  ];
}

export async function contextWins(bench: Bench): Promise<Row[]> {
  return [share('13', 'the passage against what is known by heart', await bench.passed('contradiction'), 0.9)];
}

/** Rows 1, 3 and 5, whose scores in float32 are in the card. */
const COMPARED = [
  'labels noun k=4',
  'labels sentence k=4',
  'labels noun k=4 swapped',
  'system one',
  'arithmetic 3 steps',
  'arithmetic 3 direct',
];

/** The trainer's float32 scores of the default seed, as the model card keeps them: row by exam. */
export function quantization(reference: ReadonlyMap<string, number> | undefined): RowMaker {
  return async (bench) => {
    if (reference === undefined)
      return [skipped('14', 'against float32', 'the card has scores of the default seed and number of items alone')];
    const rows: Row[] = [];
    for (const name of COMPARED) {
      const expected = reference.get(name);
      if (expected === undefined) continue;
      const { right, n } = await bench.exact(name);
      const drop = expected - right / n;
      rows.push(
        fact('14', `${name}: drop against float32`, drop <= 0.03, '<= 3 points', `${percent(expected)} to ${percent(right / n)}`, n),
      );
    }
    return rows;
  };
}

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
