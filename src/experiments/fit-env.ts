import type { Example } from '../data/types.ts';
import { type Engine, greedy, type Patch } from '../engine/types.ts';
import { mean } from '../lib/stats.ts';
import { composeMessages } from '../methods/compose.ts';
import type { Checkpoint, FitEnv, Prompt } from '../methods/types.ts';
import type { Metric } from '../metrics/types.ts';
import type { Message, PromptRenderer } from '../text/types.ts';
import { evaluate } from './runner.ts';

export interface FitEnvOptions {
  readonly engine: Engine;
  readonly renderer: PromptRenderer;
  readonly metric: Metric;
  readonly train: readonly Example[];
  /** Empty: nothing is chosen by its score, the last state is kept. */
  readonly validation: readonly Example[];
  readonly seed: number;
  readonly prompt: Prompt;
  readonly pinned: FitEnv['pinned'];
  /** Tokens at which replies are cut, in validations and pinned answers. */
  readonly longestAnswer: number;
  readonly rowLimit?: number | undefined;
  readonly resumeFrom?: Checkpoint | undefined;
  readonly signal: AbortSignal;
  /** Where a run's news goes. */
  readonly events: Pick<FitEnv, 'progress' | 'report' | 'sample' | 'best' | 'note' | 'checkpoint'>;
}

/** All that a method may touch, over our engine: rows by the model's own template, scores by the runner's own code. */
export function createFitEnv(options: FitEnvOptions): FitEnv {
  const { engine, renderer, metric, train, validation, seed, prompt, pinned, longestAnswer, rowLimit, resumeFrom, signal, events } =
    options;
  return {
    ...{ train, validation, metric, seed, prompt, pinned, engine, signal },
    ...(rowLimit === undefined ? {} : { rowLimit }),
    ...(resumeFrom === undefined ? {} : { resumeFrom }),
    progress: (step, steps) => events.progress(step, steps),
    report: (step, name, value) => events.report(step, name, value),
    sample: (step, name, text) => events.sample(step, name, text),
    best: (step, score) => events.best(step, score),
    note: (code, text) => events.note(code, text),
    checkpoint: (state, patch) => events.checkpoint(state, patch),
    encode: (example, words) => renderer.withAnswer(composeMessages(words, example.messages), example.targets[0]),
    generate: (words, messages, patch) => answerGreedily({ engine, renderer, longestAnswer, signal }, words, messages, patch),
    evaluate: async (candidate) => {
      const shared = { engine, renderer, metric, longestAnswer, signal };
      const { results } = await evaluate({ ...shared, rows: validation, prompt: candidate.prompt, patch: candidate.patch });
      const scores = Float32Array.from(results, (result) => result.score);
      return { mean: mean(scores), perExample: scores };
    },
  };
}

/** The likeliest reply to a conversation, as pinned prompts are answered. What was written by then, after an abort. */
export async function answerGreedily(
  {
    engine,
    renderer,
    longestAnswer,
    signal,
  }: Pick<FitEnvOptions, 'renderer' | 'longestAnswer' | 'signal'> & { readonly engine: Pick<Engine, 'generate'> },
  words: Prompt,
  messages: readonly Message[],
  patch: Patch | undefined,
): Promise<string> {
  const tokens: number[] = [];
  const question = await renderer.prompt(composeMessages(words, messages));
  // The renderer knows every stop only once it has rendered something.
  const stops = new Set(renderer.stopIds);
  for await (const token of engine.generate(question, greedy(longestAnswer, renderer.stopIds), patch, signal)) {
    if (!stops.has(token)) tokens.push(token);
  }
  return renderer.tokenizer.decode(tokens);
}
