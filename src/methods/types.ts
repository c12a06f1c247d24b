import type { Example } from '../data/types.ts';
import type { Engine, ModelConfig, OptimizerState, Patch } from '../engine/types.ts';
import type { Metric, Source } from '../metrics/types.ts';
import type { Encoded, Message } from '../text/types.ts';

export type Extract = 'whole' | 'after-answer-mark' | 'last-number' | 'last-line';
/** Words around the input. `extract` takes the answer out of a step-by-step reply. */
export interface Prompt {
  readonly system: string;
  readonly shots: readonly Example[];
  readonly cue: string;
  readonly extract: Extract;
}

/** No words around the input: what Base gets. */
export const emptyPrompt: Prompt = { system: '', shots: [], cue: '', extract: 'whole' };
/** Asks for steps before the answer. Kojima et al. 2022, arXiv:2205.11916; the mark makes the answer easy to take out. */
export const STEP_CUE = 'Think step by step. Then write only the answer on a last line that begins with "Answer:".';

/** What a method learned. Words run on any runtime; a patch on our engine. LoRA under a system prompt is ordinary. */
export interface Customization {
  readonly prompt: Prompt;
  readonly patch?: Patch;
}

/** Where a fit stands, so that it goes on bit for bit: also the data order, the random counter and the best state so far. */
export interface Checkpoint {
  readonly optimizer: OptimizerState;
  /** The next step is number `position` (from 0) of pass `epoch` (from 0). */
  readonly epoch: number;
  readonly position: number;
  /** Micro-batches since the start of the fit: where dropout's generator stands. */
  readonly randomCounter: number;
  /** 1, or a half for each time the loss stopped being a number. */
  readonly rateFactor: number;
  /** Validations without a better one. */
  readonly sinceBest: number;
  /** `score` in the metric's unit and `loss` in nats a token, both on validation. */
  readonly best?: { readonly step: number; readonly score: number; readonly loss: number; readonly optimizer: OptimizerState };
  /** Kernel variants and their versions: other kernels, other last bits. */
  readonly kernels: string;
}

/** All a method may touch. `engine` is there when it needs 'train' or 'score'. */
export interface FitEnv {
  readonly train: readonly Example[];
  readonly validation: readonly Example[];
  readonly metric: Metric;
  readonly seed: number;
  readonly prompt: Prompt; // in force while fitting; a method of words starts from it
  /** Token ids and loss mask of a row under a prompt, by the model's own template. */
  encode(example: Example, prompt: Prompt): Promise<Encoded>;
  /** The greedy reply; a patch needs our engine. */
  generate(prompt: Prompt, messages: readonly Message[], patch?: Patch): Promise<string>;
  evaluate(candidate: Customization): Promise<{ readonly mean: number; readonly perExample: Float32Array }>; // on validation, by the runner's code
  /** Longest row in tokens; longer ones are left out of training and counted. The model's context where absent. */
  readonly rowLimit?: number;
  readonly engine?: Engine;
  /** Progress in steps, cheap, call it every step. */
  progress(step: number, steps: number): void;
  report(step: number, name: string, value: number): void; // one point of a curve; cheap, call it every step
  sample(step: number, name: string, text: string): void; // a pinned prompt's answer on the way
  best(step: number, score: number): void; // a new best checkpoint, by validation
  note(code: string, text: string): void; // something a person should be told, such as rows left out
  /** Up to three pinned conversations to answer before and during. */
  readonly pinned: readonly { readonly name: string; readonly messages: readonly Message[] }[];
  /** Resolves when the state is safe on disk; `patch` says how its bytes are laid out. */
  checkpoint(state: Checkpoint, patch: Patch): Promise<void>;
  readonly resumeFrom?: Checkpoint;
  readonly signal: AbortSignal;
}

/** One setting of a method, as data: the UI draws the form from it. */
export type Setting<T> = {
  /** Plain words: "How strongly". */
  readonly label: string;
  /** The field's word after it: "learning rate". */
  readonly term: string;
  readonly help: string;
  readonly default: T;
  readonly unit?: string;
  /** Shown only under "All settings". */
  readonly advanced?: boolean;
  readonly source?: Source;
} & (T extends number
  ? { readonly kind: 'number'; readonly min: number; readonly max: number; readonly step?: number; readonly scale?: 'linear' | 'log' }
  : T extends boolean
    ? { readonly kind: 'boolean' }
    : T extends readonly string[]
      ? { readonly kind: 'choices'; readonly options: readonly { readonly value: string; readonly label: string }[] }
      : { readonly kind: 'choice'; readonly options: readonly { readonly value: string; readonly label: string }[] });

export type Need = 'generate' | 'score' | 'train' | 'embed';

/** What an estimate has to know of the training rows; tokens by the model in use, prompt included. */
export interface DataSize {
  readonly rows: number;
  readonly tokens: number;
  /** Tokens that the loss is taken over: answers and stop tokens. */
  readonly trainedTokens: number;
  readonly longestRow: number;
}

export interface TrainingSize {
  readonly steps: number;
  /** The largest micro-batch, padded. */
  readonly shape: readonly [B: number, T: number];
  readonly trainedValues: number;
  readonly recompute: boolean;
}

export interface Method<C extends object> {
  readonly id: string;
  /** The field's word: "LoRA". */
  readonly name: string;
  /** The plain words: "Small add-on weights". */
  readonly plainName: string;
  /** Colour and shape of design.md section 4: base, prompt, shots, cot, search, soft, ia3, adapter, lora, full. */
  readonly mark: string;
  readonly source: Source;
  /** One sentence a non-expert can act on: what it changes, and when to choose it. */
  readonly summary: string;
  readonly needs: readonly Need[];
  /** Each setting's default, range, unit, help and source. Plain data: the UI draws the form from it, handed over by the worker's contract. */
  readonly settings: { readonly [K in keyof C]: Setting<C[K]> };
  /** The config of settings as a form or storage holds them; what is absent is the default. @throws 'method/bad-setting' */
  read(raw: Readonly<Record<string, unknown>>, model: ModelConfig): C;
  /** Defaults that depend on the model, in place of those of `settings`. */
  defaultsFor?(model: ModelConfig): Partial<C>;
  /** Of a method that trains: what a run will be, from which the engine plans its memory. */
  training?(config: C, model: ModelConfig, data: DataSize): TrainingSize;
  /** Time (s) and peak GPU memory (bytes beyond the base model's) to expect on this device, shown before Start. */
  estimate(config: C, model: ModelConfig, data: DataSize, device: { readonly flopsPerSecond: number }): { seconds: number; bytes: number };
  /** Learn from `env.train`. On abort, resolve with the best so far. @throws 'fit/diverged', 'gpu/out-of-memory' */
  fit(env: FitEnv, config: C): Promise<Customization>;
}

/** A method as plain data, for the interface. */
export interface MethodDeclaration {
  readonly id: string;
  readonly name: string;
  readonly plainName: string;
  readonly mark: string;
  readonly source: Source;
  readonly summary: string;
  readonly needs: readonly Need[];
  readonly settings: Readonly<Record<string, AnySetting>>;
}
export type AnySetting = Setting<number> | Setting<boolean> | Setting<string> | Setting<readonly string[]>;
