// What the worker with both runtimes does.
import type { MlcWritten } from '../../../src/formats/mlc-write.ts';
import type { TokenizerSpec } from '../../../src/formats/types.ts';
import type { Packed } from '../unpack.ts';

export interface AnsweredByBoth {
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  /** Where they part: our logits' distance from the first to the second there. */
  readonly margin?: number;
}
export interface DecodeTimes {
  /** Tokens of the prompt, and those decoded after it in each round. */
  readonly prompt: number;
  readonly made: number;
  /** Milliseconds a decoded token, a number a round. */
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  /** web-llm with a LoRA of rank 8 on all seven linears in use. */
  readonly adapter: readonly number[];
}

export interface BothApi {
  /** A model's shards into our engine, and ready for web-llm. */
  open(packed: Packed, tokenizerConfig: string): Promise<void>;
  /** The same with random weights of a shape of the bench (src/cli/bench/shapes.ts), in MLC's layout. */
  make(shape: string, stopIds: readonly number[], quantization: MlcWritten, tokenizer: TokenizerSpec): Promise<void>;
  /** Into web-llm, with this library or the one that came along. */
  load(library: Uint8Array<ArrayBuffer>): Promise<void>;
  loadOwn(): Promise<void>;
  /** Logits (V) of web-llm after a prompt. */
  theirLogits(prompt: Uint32Array): Promise<Float32Array>;
  answer(prompt: Uint32Array, maxTokens: number, stops: readonly number[]): Promise<AnsweredByBoth>;
  /** `rounds` times each in turn, after a warm-up of each. Where that would take longer than `seconds`: after a prompt of one token, fewer tokens, and at last
   *  fewer rounds; each at least once, one token. */
  times(rounds: number, made: number, seconds: number): Promise<DecodeTimes>;
  close(): Promise<void>;
}
