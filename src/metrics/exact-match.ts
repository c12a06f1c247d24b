import { bestOverTargets, normalizeAnswer } from './normalize.ts';
import type { Metric } from './types.ts';

export const exactMatch: Metric = {
  id: 'exact-match',
  name: 'Exact match',
  summary: 'The reply is the answer, capitals, punctuation and articles aside: for labels and other short answers with one right form.',
  better: 'higher',
  binary: true,
  source: { label: 'Rajpurkar et al. 2016, SQuAD', url: 'https://arxiv.org/abs/1606.05250' },
  score(prediction, example) {
    const said = normalizeAnswer(prediction);
    return bestOverTargets(example, (target) => (said === normalizeAnswer(target) ? 1 : 0));
  },
};
