import type { Example } from '../data/types.ts';
import { type Engine, greedy, type ModelConfig, type Patch } from '../engine/types.ts';
import { composeMessages, extractAnswer } from '../methods/compose.ts';
import type { Prompt } from '../methods/types.ts';
import type { Metric } from '../metrics/types.ts';
import type { PromptRenderer } from '../text/types.ts';
import type { RowResult } from './types.ts';

/** Tokens that a step-by-step cue gives the model to think in, beyond its answer. */
export const STEP_TOKENS = 256;
const SHORTEST_LIMIT = 8;

/** Tokens of the longest answer of these rows, its stop token included; 0 where no row has an answer. */
export function longestTrainAnswer(renderer: PromptRenderer, train: readonly Example[]): number {
  let longest = 0;
  for (const example of train) {
    for (const target of example.targets) longest = Math.max(longest, renderer.tokenizer.encode(target, { addSpecial: false }).length + 1);
  }
  return longest;
}

/** Tokens at which a reply is cut: 1.5 times the longest training answer and at least 8, and 256 more under a step-by-step cue. */
export function longestAnswer(renderer: PromptRenderer, train: readonly Example[], prompt: Pick<Prompt, 'cue'>): number {
  const answer = Math.max(SHORTEST_LIMIT, Math.ceil(1.5 * longestTrainAnswer(renderer, train)));
  return answer + (prompt.cue.trim() === '' ? 0 : STEP_TOKENS);
}

/** Who answers rows: our engine, or another runtime over the same weights, which decodes as it does and has its patch inside. */
export interface Answerer {
  readonly config: Pick<ModelConfig, 'context'>;
  readonly generateMany: Engine['generateMany'];
}
export interface EvaluateOptions {
  readonly engine: Answerer;
  readonly renderer: PromptRenderer;
  readonly metric: Metric;
  readonly rows: readonly Example[];
  readonly prompt: Prompt;
  readonly patch?: Patch | undefined;
  /** Tokens at which a reply is cut. */
  readonly longestAnswer: number;
  readonly signal?: AbortSignal | undefined;
  /** Each row as it is done, in the order in which they end; `total` counts the rows that can be answered. */
  readonly onRow?: (result: RowResult, done: number, total: number) => void;
}
export interface Evaluation {
  /** In the order of the rows. After an abort: those that were done. */
  readonly results: readonly RowResult[];
  /** Rows whose prompt leaves no room for an answer in the model's context. They were not answered and have no score. */
  readonly tooLong: readonly { readonly exampleId: string; readonly promptTokens: number }[];
  /** Rows without an answer, which are never scored. */
  readonly withoutAnswer: number;
  /** Every row that can be answered was. */
  readonly complete: boolean;
  readonly seconds: number;
  /** Tokens written a second, over all rows together. */
  readonly tokensPerSecond: number;
}

/** Answers rows greedily under a prompt and with a patch, and scores them. A reply is cut where it reaches the longest answer or the end of the context.
 *  An abort keeps what is done. @throws 'template/failed', 'gpu/out-of-memory' */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const { engine, renderer, metric, prompt, patch, signal, onRow } = options;
  const rows = options.rows.filter((example) => example.targets.length > 0);
  const started = performance.now();
  const asked: { readonly place: number; readonly tokens: Uint32Array }[] = [];
  const tooLong: { exampleId: string; promptTokens: number }[] = [];
  for (let place = 0; place < rows.length && signal?.aborted !== true; place++) {
    const tokens = await renderer.prompt(composeMessages(prompt, rows[place].messages));
    if (tokens.length >= engine.config.context) tooLong.push({ exampleId: rows[place].id, promptTokens: tokens.length });
    else asked.push({ place, tokens });
  }
  const stops = new Set(renderer.stopIds);
  const results = new Map<number, RowResult>();
  let written = 0;
  const sampling = greedy(options.longestAnswer, renderer.stopIds);
  const prompts = asked.map((row) => row.tokens);
  if (prompts.length > 0 && signal?.aborted !== true) {
    for await (const { row, tokens } of engine.generateMany(prompts, sampling, patch, signal)) {
      const { place, tokens: question } = asked[row];
      const ended = tokens.length > 0 && stops.has(tokens[tokens.length - 1]);
      const reply = renderer.tokenizer.decode(ended ? tokens.subarray(0, -1) : tokens);
      const answer = extractAnswer(reply, prompt.extract);
      const result: RowResult = {
        exampleId: rows[place].id,
        reply,
        answer,
        score: metric.score(answer, rows[place]),
        promptTokens: question.length,
        replyTokens: tokens.length,
        cut: !ended,
      };
      results.set(place, result);
      written += tokens.length;
      onRow?.(result, results.size, asked.length);
    }
  }
  const seconds = (performance.now() - started) / 1000;
  return {
    results: [...results].sort(([a], [b]) => a - b).map(([, result]) => result),
    tooLong,
    withoutAnswer: options.rows.length - rows.length,
    complete: results.size + tooLong.length === rows.length,
    seconds,
    tokensPerSecond: seconds > 0 ? written / seconds : 0,
  };
}

/** Tokens that a prompt adds to each call, on average over rows (the first 16, or one word where there are none): with the prompt minus without. */
export async function extraTokens(renderer: PromptRenderer, rows: readonly Example[], prompt: Prompt): Promise<number> {
  const some: readonly Pick<Example, 'messages'>[] =
    rows.length > 0 ? rows.slice(0, 16) : [{ messages: [{ role: 'user', content: 'Hello' }] }];
  let extra = 0;
  for (const { messages } of some) {
    const plain = await renderer.prompt(messages);
    extra += (await renderer.prompt(composeMessages(prompt, messages))).length - plain.length;
  }
  return Math.round(extra / some.length);
}
