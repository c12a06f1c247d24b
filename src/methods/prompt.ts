import { drawShots, withCue } from './compose.ts';
import { readBoolean, readNumber, readText } from './settings.ts';
import type { Method } from './types.ts';
import { STEP_CUE } from './types.ts';

export interface PromptConfig {
  readonly system: string;
  /** Rows of the training data shown as earlier questions and answers, drawn by seed. */
  readonly shots: number;
  /** Ask for steps before the answer. */
  readonly cue: boolean;
}

const settings: Method<PromptConfig>['settings'] = {
  system: {
    kind: 'choice',
    label: 'What the model is told',
    term: 'system prompt',
    help: 'Said before every message.',
    default: '',
    options: [], // free text
  },
  shots: {
    kind: 'number',
    label: 'Examples shown',
    term: 'shots',
    help: 'Training rows shown as earlier questions and answers, the same before every message.',
    default: 0,
    min: 0,
    max: 32,
    step: 1,
    source: { label: 'Brown et al. 2020', url: 'https://arxiv.org/abs/2005.14165' },
  },
  cue: {
    kind: 'boolean',
    label: 'Think before the answer',
    term: 'chain-of-thought cue',
    help: 'Asks for steps first; only what follows "Answer:" is scored. Slower, and small models gain little.',
    default: false,
    source: { label: 'Kojima et al. 2022', url: 'https://arxiv.org/abs/2205.11916' },
  },
};

/** Words around the input: a system prompt, shots and a step-by-step cue, in any mixture. Trains nothing. */
export const prompt: Method<PromptConfig> = {
  id: 'prompt',
  name: 'Prompt',
  plainName: 'Words around the input',
  mark: 'prompt',
  source: { label: 'Brown et al. 2020', url: 'https://arxiv.org/abs/2005.14165' },
  summary:
    'Tells the model what to do and shows it examples. Made in seconds, changes no weights, and costs tokens on every call. Try it first.',
  needs: ['generate'],
  settings,
  read: (raw) => ({
    system: readText(raw, 'system', settings.system),
    shots: readNumber(raw, 'shots', settings.shots),
    cue: readBoolean(raw, 'cue', settings.cue),
  }),
  estimate: () => ({ seconds: 0, bytes: 0 }),
  fit: async (env, config) => {
    const shots = config.shots === 0 ? env.prompt.shots : drawShots(env.train, config.shots, env.seed);
    const system = config.system === '' ? env.prompt.system : config.system;
    return { prompt: withCue({ ...env.prompt, system, shots }, config.cue ? STEP_CUE : env.prompt.cue, env.train) };
  },
};
