// The nouns of runtimes other than our engine.

/** A model in MLC's layout with the library that runs it. The bytes are handed over, not copied. */
export interface WebllmFiles {
  readonly id: string;
  /** mlc-chat-config.json. */
  readonly chatConfig: Uint8Array<ArrayBuffer>;
  /** tensor-cache.json. */
  readonly index: Uint8Array<ArrayBuffer>;
  /** tokenizer.json: web-llm does not load without it, and we do not use it there. */
  readonly tokenizer: Uint8Array<ArrayBuffer>;
  readonly shards: readonly { readonly name: string; readonly file: Blob }[];
  /** The model library, .wasm. */
  readonly library: Uint8Array<ArrayBuffer>;
}
export interface WebllmLoaded {
  /** Tokens that prompt and answer may have together. */
  readonly context: number;
  /** Tokens of a prompt that go in at once. */
  readonly chunk: number;
  readonly vocabulary: number;
}
export interface WebllmSampling {
  readonly temperature: number;
  /** 0: all. */
  readonly topK: number;
  readonly topP: number;
  readonly seed: number;
  readonly maxTokens: number;
  readonly stops: readonly number[];
}
export type WebllmEnd = 'stop' | 'length' | 'context' | 'aborted';

/** The worker in which web-llm runs. One model at a time, one call at a time; it is ended after a load that failed or was stopped. */
export interface WebllmApi {
  load(files: WebllmFiles, onProgress: (done: number, what: string) => void, signal: AbortSignal): Promise<WebllmLoaded>;
  /** `onToken` gets each id as it is drawn, a stop token not among them. */
  generate(prompt: Uint32Array, options: WebllmSampling, onToken: (id: number) => void, signal: AbortSignal): Promise<WebllmEnd>;
  /** Logits (T, V) after each of the T tokens, one token a pass. */
  logits(tokens: Uint32Array, signal: AbortSignal): Promise<Float32Array>;
  /** Logits (V) after all tokens, which go in chunk by chunk. */
  lastLogits(tokens: Uint32Array, signal: AbortSignal): Promise<Float32Array>;
  unload(): Promise<void>;
}
