import { answerTokens, bestOverTargets } from './normalize.ts';
import type { Metric } from './types.ts';

/** F1 of the bags of words. Two texts without words are equal (SQuAD 2.0's script). */
export function tokenF1Of(prediction: string, target: string): number {
  const said = answerTokens(prediction);
  const gold = answerTokens(target);
  if (said.length === 0 || gold.length === 0) return said.length === gold.length ? 1 : 0;
  const left = new Map<string, number>();
  for (const word of gold) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of said) {
    const count = left.get(word) ?? 0;
    if (count > 0) {
      common++;
      left.set(word, count - 1);
    }
  }
  // 2 P R / (P + R) with P = common / said and R = common / gold
  return (2 * common) / (said.length + gold.length);
}

export const tokenF1: Metric = {
  id: 'token-f1',
  name: 'Token F1',
  summary: 'How many words the reply shares with the answer, in any order: for short answers that can be worded in more than one way.',
  better: 'higher',
  binary: false,
  source: { label: 'Rajpurkar et al. 2016, SQuAD', url: 'https://arxiv.org/abs/1606.05250' },
  score: (prediction, example) => bestOverTargets(example, (target) => tokenF1Of(prediction, target)),
};
