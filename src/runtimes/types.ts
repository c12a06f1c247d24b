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

/** One linear's low-rank factors: y += strength * scale * B (A x). Hu et al. 2021, arXiv:2106.09685. */
export interface WebllmFactors {
  /** Path of the linear as PEFT counts it, with or without "model." in front: layers.3.self_attn.q_proj. Of each layer q_proj, k_proj, v_proj, o_proj of
   *  self_attn and gate_proj, up_proj, down_proj of mlp. */
  readonly module: string;
  readonly rank: number;
  /** (rank, inputs), row-major. */
  readonly a: Float32Array<ArrayBuffer>;
  /** (outputs, rank), row-major. */
  readonly b: Float32Array<ArrayBuffer>;
  /** alpha / r, or alpha / sqrt(r) with rank-stabilized scaling. */
  readonly scale: number;
}
/** A LoRA as web-llm's worker takes it: unmerged, whatever the base's numbers are. */
export interface WebllmAdapter {
  /** `WebllmFiles.id` of the model that it was trained on. */
  readonly base: string;
  readonly factors: readonly WebllmFactors[];
}
export interface WebllmInUse {
  readonly id: string;
  /** 0 to 1.5. */
  readonly strength: number;
}
/** What the self-test asks: our engine's logits (V) after the last token of each of `cases`, on the same weights with `adapter` at strength 1. The same
 *  plan comes again for the same model and library. */
export interface WebllmSelfTestPlan {
  /** Random factors on all seven linears of each layer. */
  readonly adapter: WebllmAdapter;
  /** One token, a short prompt, and one longer than what goes in at once, where the context has room for it. */
  readonly cases: readonly { readonly name: 'one token' | 'short prompt' | 'long prompt'; readonly tokens: Uint32Array<ArrayBuffer> }[];
}
/** One sentence a check, in the order in which they are made. */
export interface WebllmSelfTestCheck {
  readonly ok: boolean;
  /** One of the plan's cases, then what was looked at: "short prompt, random adapter against our engine", "long prompt, kernels joined in each pass". */
  readonly name: string;
  /** Logits: the largest difference found. Kernels: how many were joined in the first pass that has another count, else in each. */
  readonly found: number;
  /** Logits: the largest difference allowed, or the least where the adapter must show. Kernels: the expected count. */
  readonly allowed: number;
}
export type WebllmSelfTest =
  | { readonly ok: true; readonly checks: readonly WebllmSelfTestCheck[] }
  /** `unknown`: a kernel that could not be read; the test ended there. Otherwise at least one of the checks failed. */
  | {
      readonly ok: false;
      readonly checks: readonly WebllmSelfTestCheck[];
      readonly unknown?: { readonly kernel: string; readonly why: string };
    };

/** The worker in which web-llm runs. One model at a time, one call at a time; it is ended after a load that failed or was stopped. */
export interface WebllmApi {
  load(files: WebllmFiles, onProgress: (done: number, what: string) => void, signal: AbortSignal): Promise<WebllmLoaded>;
  /** `onToken` gets each id as it is drawn, a stop token not among them. */
  generate(prompt: Uint32Array, options: WebllmSampling, onToken: (id: number) => void, signal: AbortSignal): Promise<WebllmEnd>;
  /** Logits (T, V) after each of the T tokens, one token a pass. */
  logits(tokens: Uint32Array, signal: AbortSignal): Promise<Float32Array>;
  /** Logits (V) after all tokens, which go in chunk by chunk. */
  lastLogits(tokens: Uint32Array, signal: AbortSignal): Promise<Float32Array>;
  /** Puts factors on web-llm's GPU and uses none of them yet; an id that is there is replaced. Resolves with the bytes that they take there.
   *  @throws 'webllm/adapter-base', 'webllm/adapter-shape', 'webllm/adapter-module', 'webllm/not-loaded' */
  addAdapter(id: string, adapter: WebllmAdapter): Promise<number>;
  /** From the next prompt on exactly these, added up; none for the model as it came. Answers and logits then throw 'webllm/unknown-kernel' or
   *  'webllm/adapter-hits' where adapters cannot join this library, which the self-test finds out beforehand.
   *  @throws 'webllm/adapter-unknown', 'webllm/adapter-strength', 'webllm/adapter-twice', 'webllm/not-loaded' */
  useAdapters(list: readonly WebllmInUse[]): Promise<void>;
  /** Out of use and off the GPU. An id that is not there is no error. */
  removeAdapter(id: string): Promise<void>;
  /** @throws 'webllm/not-loaded' */
  selfTestPlan(): Promise<WebllmSelfTestPlan>;
  /** Do adapters inside this model's library give what our engine gives? `logits` (V) are the answers to `selfTestPlan().cases`, in their order. Adapters that
   *  were in use are in use again afterwards. Failing is a result and no error. @throws 'webllm/self-test-logits', 'webllm/not-loaded', AbortError */
  selfTest(logits: readonly Float32Array[], signal: AbortSignal): Promise<WebllmSelfTest>;
  /** Under which a result of the self-test is remembered: the library's hash, web-llm's version, this app's part in it, the browser and the device. */
  selfTestKey(): Promise<string>;
  /** Rejects when the GPU of the loaded model is lost. Calls that wait then reject with the same. @throws 'gpu/lost', 'gpu/out-of-memory' */
  lost(): Promise<never>;
  unload(): Promise<void>;
}
