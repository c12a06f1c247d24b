import type { Example } from '../data/types.ts';
import { seededRandom } from '../lib/random.ts';
import type { Message } from '../text/types.ts';
import type { Extract, Prompt } from './types.ts';

export const ANSWER_MARK = 'Answer:';

/** The conversation that the model is given for a row: the prompt's system text, then the row's own, in one system message; each shot as an earlier
 *  question and answer (without a system message of its own); then the row, the cue as a last paragraph of its last question. */
export function composeMessages(prompt: Prompt, messages: readonly Message[]): Message[] {
  const own = messages.filter((message) => message.role === 'system').map((message) => message.content);
  const system = [prompt.system, ...own].filter((text) => text.trim() !== '').join('\n\n');
  const turns = messages.filter((message) => message.role !== 'system');
  const asked = turns.findLastIndex((message) => message.role === 'user');
  const out: Message[] = system === '' ? [] : [{ role: 'system', content: system }];
  for (const shot of prompt.shots) {
    if (shot.targets.length === 0) continue;
    out.push(...shot.messages.filter((message) => message.role !== 'system'), { role: 'assistant', content: shot.targets[0] });
  }
  turns.forEach((message, i) => {
    out.push(i === asked && prompt.cue !== '' ? { ...message, content: `${message.content}\n\n${prompt.cue}` } : message);
  });
  return out;
}

/** A number as a whole answer or inside a reply: sign, thousands in groups of three, decimals, a percent sign. */
const NUMBER = String.raw`(?:(?<![\w)])[-+\u2212])?(?:\d{1,3}(?:[,\u2009\u202f]\d{3})+|\d+)(?:\.\d+)?%?`;
const NUMBER_ONLY = new RegExp(`^${NUMBER}$`);

export function isNumber(text: string): boolean {
  return NUMBER_ONLY.test(text.trim());
}

function lastLine(reply: string): string {
  return (
    reply
      .split('\n')
      .map((line) => line.trim())
      .findLast((line) => line !== '') ?? ''
  );
}

/** What of a reply is scored, without the white space around it. 'whole': all of it. Every other way takes what follows the last "Answer:"; where there
 *  is none, 'last-number' takes the last number of the reply, and where that is missing too, or for the others, the last line that is not empty. */
export function extractAnswer(reply: string, extract: Extract): string {
  if (extract === 'whole') return reply.trim();
  const at = reply.lastIndexOf(ANSWER_MARK);
  // Models like to print the mark in bold: "**Answer:** 42".
  if (at >= 0)
    return reply
      .slice(at + ANSWER_MARK.length)
      .replace(/^\*\*/, '')
      .trim();
  if (extract === 'last-number') {
    const numbers = reply.match(new RegExp(NUMBER, 'g'));
    if (numbers !== null) return numbers[numbers.length - 1];
  }
  return lastLine(reply);
}

/** How the answer is taken out of a step-by-step reply where the mark is missing: the last number where all training answers are numbers. */
export function extractFor(train: readonly Example[]): Extract {
  const answers = train.flatMap((example) => example.targets);
  return answers.length > 0 && answers.every(isNumber) ? 'last-number' : 'after-answer-mark';
}

/** A prompt with a cue takes the answer out of the reply; one without is scored whole. */
export function withCue(prompt: Prompt, cue: string, train: readonly Example[]): Prompt {
  return { ...prompt, cue, extract: cue.trim() === '' ? 'whole' : extractFor(train) };
}

/** `count` rows with an answer, drawn by seed, the same for the same rows whatever their order came from. Where the answers are few (labels: at most 10
 *  different ones, each twice on average), the labels take turns, since shots of one label alone teach only that label (Zhao et al. 2021,
 *  arXiv:2102.09690). Only ever hand it training rows. */
export function drawShots(train: readonly Example[], count: number, seed: number): Example[] {
  const random = seededRandom(seed);
  const rows = random.shuffle(train.filter((example) => example.targets.length > 0));
  const labels = [...new Set(rows.map((example) => example.targets[0]))];
  if (labels.length > 10 || labels.length * 2 > rows.length) return rows.slice(0, count);
  const piles = labels.map((label) => rows.filter((example) => example.targets[0] === label));
  const drawn: Example[] = [];
  for (let round = 0; drawn.length < Math.min(count, rows.length); round++) {
    for (const pile of piles) if (round < pile.length && drawn.length < count) drawn.push(pile[round]);
  }
  return random.shuffle(drawn);
}
