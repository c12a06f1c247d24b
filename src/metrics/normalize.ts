import type { Example } from '../data/types.ts';
import { AppError } from '../lib/error.ts';

const PUNCTUATION = /[!-/:-@[-`{-~]/g; // Python's string.punctuation
const ARTICLES = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;
const squeeze = (text: string): string => text.trim().split(/\s+/u).join(' ');

/**
 * Lower case, no punctuation, no articles, single spaces: the normalization of SQuAD's evaluation script (Rajpurkar et al. 2016, arXiv:1606.05250,
 * section 6). Where that would leave nothing (the label "A", the answer "+"), the last step that would is left out.
 */
export function normalizeAnswer(text: string): string {
  const lower = squeeze(text.toLowerCase());
  const bare = squeeze(lower.replace(PUNCTUATION, ''));
  const without = squeeze(bare.replace(ARTICLES, ' '));
  return without || bare || lower;
}

export const answerTokens = (text: string): string[] => normalizeAnswer(text).split(' ').filter(Boolean);

/** The best score over the accepted answers, as SQuAD does. @throws 'metric/no-answer': rows without an answer are never scored */
export function bestOverTargets(example: Example, score: (target: string) => number): number {
  if (example.targets.length === 0) {
    throw new AppError('metric/no-answer', 'A row without an answer cannot be scored.', {
      why: 'This metric compares a reply with the accepted answers of its row.',
      fix: 'Add an answer to the row, or leave it out.',
      facts: { row: example.id },
    });
  }
  return Math.max(...example.targets.map(score));
}
