import { bestOverTargets, normalizeAnswer } from './normalize.ts';
import type { Metric } from './types.ts';

export const contains: Metric = {
  id: 'contains',
  name: 'Contains the answer',
  summary:
    'The answer stands somewhere in the reply, as whole words: for short answers inside a longer reply. A reply that lists everything passes too.',
  better: 'higher',
  binary: true,
  source: { label: 'Normalized as SQuAD, Rajpurkar et al. 2016', url: 'https://arxiv.org/abs/1606.05250' },
  score(prediction, example) {
    const said = ` ${normalizeAnswer(prediction)} `;
    return bestOverTargets(example, (target) => (said.includes(` ${normalizeAnswer(target)} `) ? 1 : 0));
  },
};
