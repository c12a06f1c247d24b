import { bestOverTargets } from './normalize.ts';
import type { Metric } from './types.ts';

/** Words in lower case; a sign of a script that writes no spaces counts as a word. */
const words = (text: string): string[] =>
  text.toLowerCase().match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]\p{M}*|[\p{L}\p{N}\p{M}]+/gu) ?? [];

/** Length of the longest common subsequence, by one row of the table: O(|a| |b|) time, O(|b|) memory. */
function lcsLength(a: readonly string[], b: readonly string[]): number {
  const row = new Uint32Array(b.length + 1);
  for (const word of a) {
    let diagonal = 0;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j];
      row[j] = word === b[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row[b.length];
}

/** Sentence-level ROUGE-L, F measure with beta = 1. Lin 2004, section 3.1, eq. 2 to 4. */
export function rougeLOf(prediction: string, target: string): number {
  const said = words(prediction);
  const gold = words(target);
  if (said.length === 0 || gold.length === 0) return said.length === gold.length ? 1 : 0;
  // 2 P R / (P + R) with P = lcs / said and R = lcs / gold
  return (2 * lcsLength(said, gold)) / (said.length + gold.length);
}

export const rougeL: Metric = {
  id: 'rouge-l',
  name: 'ROUGE-L',
  summary:
    'How much of the answer stands in the reply in the same order: for summaries, rewrites and other long answers. It measures words, not sense.',
  better: 'higher',
  binary: false,
  source: { label: 'Lin 2004, ROUGE', url: 'https://aclanthology.org/W04-1013/' },
  score: (prediction, example) => bestOverTargets(example, (target) => rougeLOf(prediction, target)),
};
