import type { Example } from '../data/types.ts';
import type { Encoded } from '../text/types.ts';
import type { FitEnv } from './types.ts';

/** The rows with an answer that fit in `limit` tokens, encoded under the prompt in force. What is left out is counted and said. */
export async function encodeRows(
  env: Pick<FitEnv, 'encode' | 'prompt' | 'note'>,
  rows: readonly Example[],
  limit: number,
  kind: 'training' | 'validation',
): Promise<Encoded[]> {
  const answered = rows.filter((row) => row.targets.length > 0);
  const encoded: Encoded[] = [];
  for (const row of answered) encoded.push(await env.encode(row, env.prompt));
  const fitting = encoded.filter((row) => row.tokens.length <= limit);
  const tooLong = encoded.length - fitting.length;
  const whole = fitting.filter((row) => row.mask.includes(1));
  if (rows.length > answered.length) {
    env.note('fit/rows-without-answer', `${rows.length - answered.length} of ${rows.length} ${kind} rows have no answer and are left out.`);
  }
  if (tooLong > 0) {
    env.note(
      'fit/rows-too-long',
      `${tooLong} of ${answered.length} ${kind} rows are longer than ${limit} tokens and are left out, none of them cut.`,
    );
  }
  if (whole.some((row) => row.rewritesTurns)) {
    env.note('fit/last-turn-only', 'The chat template rewrites earlier turns, so only the last turn of a row is trained.');
  }
  const alone = whole.filter((row) => row.answerAlone).length;
  if (alone > 0)
    env.note(
      'fit/answers-alone',
      `${alone} of ${whole.length} ${kind} answers are encoded on their own, since the tokenizer joins them with the prompt.`,
    );
  return whole;
}
