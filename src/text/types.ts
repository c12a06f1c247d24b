export interface Message {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string;
}

/** A tokenizer ready to use. Ids are those of the model's vocabulary. */
export interface Tokenizer {
  readonly vocabSize: number;
  /** Text to ids. `addSpecial`: begin-of-text and the like, as the tokenizer's own post-processor adds them. */
  encode(text: string, options: { readonly addSpecial: boolean }): Uint32Array;
  /** Ids to text; special tokens are left out unless asked for. */
  decode(ids: ArrayLike<number>, options?: { readonly keepSpecial?: boolean }): string;
  /** One token as people should see it in a chip: its text, byte pieces as `�` or `<0xNN>`. */
  tokenText(id: number): string;
  /** The same text with the spellings of special tokens made inert: `encode` reads them as ordinary letters. For what people and data files say,
   *  so that a row cannot end its own turn. */
  plain(text: string): string;
  readonly specialIds: ReadonlySet<number>;
}

/** Renders a model's own chat template. In the app this runs in a throw-away worker, since a template is a program from a stranger. */
export interface TemplateRenderer {
  /** Starts what renders, so that nothing is left to be fetched when it is needed. @throws 'app/part-missing' */
  ready?(): Promise<void>;
  /** @throws 'template/failed', 'template/timeout', 'template/too-large' */
  render(source: string, context: TemplateContext): Promise<string>;
}
export interface TemplateContext {
  readonly messages: readonly Message[];
  readonly addGenerationPrompt: boolean;
  readonly bosToken: string;
  readonly eosToken: string;
}

/** The ids of a row as the network sees them. `mask[i]` is 1 where token i is trained (the answer and one stop token), else 0. */
export interface Encoded {
  readonly tokens: Uint32Array;
  readonly mask: Uint8Array;
  /** Tokens before the answer. */
  readonly promptLength: number;
  /** The stop token trained after the answer. */
  readonly stopId: number;
  /** The answer was encoded alone, because encode(prompt + answer + stop) does not begin with the prompt's ids. */
  readonly answerAlone: boolean;
  /** The template writes earlier turns differently once others follow, so training on them would be on text that is never seen again: only the
   *  last turn is trained. */
  readonly rewritesTurns: boolean;
}

/** The one renderer of a model: training, scoring, chat and export all go through it. */
export interface PromptRenderer {
  readonly tokenizer: Tokenizer;
  /** Ids that end generation: those of the model's files, and the stop that its template writes (known from the first `prompt` or `withAnswer` on). */
  readonly stopIds: readonly number[];
  readonly hasTemplate: boolean;
  /** Ids up to and including the generation prompt. @throws 'template/role' where the template refuses a role, naming it */
  prompt(messages: readonly Message[]): Promise<Uint32Array>;
  /** Ids and loss mask of messages followed by `answer` and one stop token. */
  withAnswer(messages: readonly Message[], answer: string): Promise<Encoded>;
}
