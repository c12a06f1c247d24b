// A tiny task for a tiny model: rows of the `llama` fixture, its renderer, and what a fit is asked with.
import type { Example } from '../../src/data/types.ts';
import type { Engine } from '../../src/engine/types.ts';
import { createFitEnv, type FitEnvOptions } from '../../src/experiments/fit-env.ts';
import type { Checkpoint, FitEnv } from '../../src/methods/types.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import type { Metric } from '../../src/metrics/types.ts';
import { renderTemplate } from '../../src/text/chat-template.ts';
import { createPromptRenderer } from '../../src/text/prompt.ts';
import { createTokenizer } from '../../src/text/tokenizer.ts';
import type { PromptRenderer } from '../../src/text/types.ts';
import { fixtureJson } from './files.ts';
import { fixtureConfig } from './fixtures.ts';

export function tinyRenderer(folder = 'models/llama'): PromptRenderer {
  const config = fixtureJson<{ chat_template?: string }>(`${folder}/tokenizer_config.json`);
  const spec = {
    json: fixtureJson<object>(`${folder}/tokenizer.json`),
    config,
    ...(config.chat_template === undefined ? {} : { chatTemplate: config.chat_template }),
  };
  const templates = { render: async (source: string, context: Parameters<typeof renderTemplate>[1]) => renderTemplate(source, context) };
  return createPromptRenderer({ tokenizer: createTokenizer(spec), spec, config: fixtureConfig(folder), templates });
}

export function row(id: string, input: string, ...targets: string[]): Example {
  return { id, messages: [{ role: 'user', content: input }], targets };
}
export const tinyRows: readonly Example[] = [
  row('a', 'red', 'x1'),
  row('b', 'blue', 'y2'),
  row('c', 'green', 'z3'),
  row('d', 'pink', 'w4'),
];

/** A score for tests of the loop alone: 1 where the answer is the target, to the letter. */
export const sameText: Metric = {
  ...{ id: 'same-text', name: 'Same text', summary: 'To the letter.', better: 'higher', binary: true, source: { label: 'tests' } },
  score: (prediction, example) => (example.targets.includes(prediction) ? 1 : 0),
};

/** What a fit said, in order. */
export interface Heard {
  readonly curves: Map<string, { step: number; value: number }[]>;
  readonly notes: string[];
  readonly samples: { step: number; text: string }[];
  readonly checkpoints: Checkpoint[];
  readonly bests: number[];
}
export function tinyEnv(engine: Engine, more: Partial<FitEnvOptions> = {}): { readonly env: FitEnv; readonly heard: Heard } {
  const heard: Heard = { curves: new Map(), notes: [], samples: [], checkpoints: [], bests: [] };
  const env = createFitEnv({
    ...{ engine, renderer: tinyRenderer(), metric: sameText, train: tinyRows, validation: [], seed: 7, prompt: emptyPrompt, pinned: [] },
    ...{ longestAnswer: 8, signal: new AbortController().signal },
    events: {
      progress: () => {},
      report: (step, name, value) => {
        const curve = heard.curves.get(name) ?? [];
        heard.curves.set(name, [...curve, { step, value }]);
      },
      sample: (step, _name, text) => void heard.samples.push({ step, text }),
      best: (step) => void heard.bests.push(step),
      note: (code) => void heard.notes.push(code),
      checkpoint: async (state) => void heard.checkpoints.push(structuredClone(state)),
    },
    ...more,
  });
  return { env, heard };
}
