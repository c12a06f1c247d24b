import type { ModelConfig, WeightType } from '../formats/types.ts';

export type { ModelConfig } from '../formats/types.ts';

/** A dense row-major array on the GPU, `offset` bytes (a multiple of 256) into its buffer: all trained tensors share a few buffers, so that one
 *  AdamW dispatch a buffer updates them. Shapes go slowest axis first: B batch, T tokens, C channels, V vocabulary, R rank, P virtual tokens. */
export interface Tensor {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly dtype: WeightStorage | 'u32';
}

export type Linear = 'q_proj' | 'k_proj' | 'v_proj' | 'o_proj' | 'gate_proj' | 'up_proj' | 'down_proj';
/** One linear of one layer, by its Hugging Face name. */
export interface Site {
  readonly layer: number;
  readonly linear: Linear;
}

/** One way in which tensors join a frozen network. Six shapes carry every technique that trains. `T` is a tensor on the GPU, or one in host memory. */
export type PartOf<T> =
  /** P rows in front of the embedded tokens (P, C). Lester et al. 2021, arXiv:2104.08691. */
  | { readonly kind: 'soft-prompt'; readonly embeddings: T }
  /** Keys and values in front of each layer's cache (L, P, NKV * HS), used as stored. Li & Liang 2021, arXiv:2101.00190. */
  | { readonly kind: 'prefix'; readonly keys: T; readonly values: T }
  /** y = W x + scale B (A x); A (R, in), B (out, R); with a magnitude, DoRA. Hu et al. 2021, arXiv:2106.09685; Liu et al. 2024, arXiv:2402.09353. */
  | { readonly kind: 'low-rank'; readonly site: Site; readonly A: T; readonly B: T; readonly scale: number; readonly magnitude?: T }
  /** A learned gain on a linear's input or output (IA3). Liu et al. 2022, arXiv:2205.05638. */
  | { readonly kind: 'gain'; readonly site: Site; readonly side: 'input' | 'output'; readonly gain: T }
  /** up(f(down(h))) added to the residual stream. Houlsby et al. 2019, arXiv:1902.00751. */
  | {
      readonly kind: 'bottleneck';
      readonly layer: number;
      readonly after: 'attention' | 'mlp';
      readonly input: 'sum' | 'sublayer' | 'parallel';
      readonly down: { readonly weight: T; readonly bias: T };
      readonly up: { readonly weight: T; readonly bias: T };
      readonly activation: 'relu' | 'silu';
      readonly scale: number;
    }
  /** In place of the base tensor of that Hugging Face name: last-k-layers and full fine-tuning. */
  | { readonly kind: 'weights'; readonly name: string; readonly values: T };
export type Part = PartOf<Tensor>;

/** A tensor in host memory, with the name it has in files and checkpoints (PEFT's name for adapters, the Hugging Face name for weights). */
export interface HostTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}
/** A Patch before it is on a GPU: what a method starts from, and what an adapter file becomes. */
export type HostPart = PartOf<HostTensor>;

/** What changes a frozen base model. Everything this app trains is a Patch; its tensors are listed by PEFT name for files and checkpoints. */
export interface Patch {
  readonly parts: readonly Part[];
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** 0 to 1.5 at run time, on low-rank and bottleneck parts; the other parts are on or off. Training always uses 1. */
  strength: number;
  readonly trainable: boolean;
  /** Share of a low-rank part's inputs set to 0 while training, 0 to below 1 (Hu et al. 2021, section 4). */
  readonly dropout: number;
}

export interface PatchOptions {
  /** Gradients and AdamW moments are allocated too. */
  readonly trainable: boolean;
  readonly dropout?: number;
  /** Of dropout's counter-based generator. */
  readonly seed?: number;
  /** Training keeps each layer's input alone and makes the rest again on the way back: the same gradients, bit for bit, in less memory, for one
   *  more forward of the layers. */
  readonly recompute?: boolean;
  /** Tensors of these names get no weight decay; everything else does. */
  readonly noDecay?: (name: string) => boolean;
}

/** Trained tensors and AdamW's moments as they are at the end of a step, in one block of bytes a buffer. */
export interface OptimizerState {
  readonly step: number;
  /** Micro-batches since the start of the fit: where dropout's generator stands. Absent means 0. */
  readonly counter?: number;
  readonly buffers: readonly { readonly w: Uint8Array; readonly m: Uint8Array; readonly v: Uint8Array }[];
}

/** One AdamW step: torch's semantics, `w -= lr * weightDecay * w` before the update. `clipNorm` 0 means no clipping; else min(1, clipNorm / (norm + 1e-6)). */
export interface AdamW {
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  readonly clipNorm: number;
}

export interface Sampling {
  readonly maxTokens: number;
  readonly stopIds: readonly number[];
  /** 0 is greedy: the largest logit, the lowest id among equals. */
  readonly temperature: number;
  /** 0 means all. */
  readonly topK: number;
  /** 1 means all. Holtzman et al. 2019, arXiv:1904.09751. */
  readonly topP: number;
  readonly seed: number;
}
export const greedy = (maxTokens: number, stopIds: readonly number[]): Sampling => ({
  maxTokens,
  stopIds,
  temperature: 0,
  topK: 0,
  topP: 1,
  seed: 0,
});

/** Tokens of a micro-batch, right-padded to (B, T). `targets` is the token to predict at each position (already shifted), or -1 for none.
 *  `segments` will let several rows share a line (packing); absent means one row a line. */
export interface Batch {
  readonly tokens: Uint32Array;
  readonly targets: Int32Array;
  readonly shape: readonly [B: number, T: number];
  readonly segments?: Uint32Array;
}

export interface MemoryUse {
  readonly weights: number;
  readonly activations: number;
  readonly training: number;
}

/** Kernel variants that were found to be the fastest on a device, by the name of what they are variants of; good for that device and those kernels. */
export interface Tuning {
  readonly device: string;
  readonly kernels: string;
  readonly chosen: Readonly<Record<string, string>>;
}

/** One model on one GPU. Not re-entrant: one call at a time. */
export interface Engine {
  readonly config: ModelConfig;
  /** How the base is held. */
  readonly storage: StoragePlan;
  /** Kernel variants in use and a hash of their text: other kernels, other last bits. */
  readonly kernels: string;
  /** The variants in use, where they were measured on this device with these kernels. */
  readonly tuning: Tuning | undefined;
  /** Measures variants and uses the fastest from the next call on; about a second in short submits. `stop` is asked before each: undefined then, and nothing
   *  has changed. Not while another call is at work; undefined too where a patch is trainable, which has plans of its own. */
  tune(stop: () => boolean): Promise<Tuning | undefined>;
  /** Measured multiply-adds, in FLOP/s, to estimate times with. */
  readonly flopsPerSecond: number;
  /** Log-probability (nats) of each token given those before it: (B, T) in, (B, T) out; column 0 is 0. */
  score(tokens: Uint32Array, shape: readonly [B: number, T: number], patch?: Patch): Promise<Float32Array>;
  /** All logits, (B, T, V). For tests and short inputs; everything else goes chunk by chunk on the GPU. @throws 'gpu/out-of-memory' */
  logits(tokens: Uint32Array, shape: readonly [B: number, T: number], patch?: Patch): Promise<Float32Array>;
  /** Sample until a stop token or `maxTokens`. The stop token is yielded last. After an abort nothing more is yielded; at most one submit is thrown
   *  away. Does not throw for it. @throws 'text/too-long' where the prompt leaves no room in the context */
  generate(prompt: Uint32Array, options: Sampling, patch?: Patch, signal?: AbortSignal): AsyncIterable<number>;
  /** Many prompts decoded side by side, as scoring a Board needs: each row comes when it is done, and greedy rows equal those of `generate`. */
  generateMany(
    prompts: readonly Uint32Array[],
    options: Sampling,
    patch?: Patch,
    signal?: AbortSignal,
  ): AsyncIterable<{ readonly row: number; readonly tokens: Uint32Array }>;
  /** Puts tensors on the GPU. Trainable ones share a few buffers. @throws 'adapter/other-base' on a shape or name that this model lacks, 'gpu/out-of-memory' */
  createPatch(parts: readonly HostPart[], options: PatchOptions): Patch;
  /** The patch's tensors by name, as they are now. */
  readPatch(patch: Patch): Promise<ReadonlyMap<string, HostTensor>>;
  disposePatch(patch: Patch): void;
  /** The base tensor of that Hugging Face name, widened to f32: where full fine-tuning starts. */
  readWeights(name: string): Promise<HostTensor>;
  /** Forward and backward over one micro-batch. Adds (+=) the gradient of its summed cross-entropy divided by `targetsOfStep`, the targets in all
   *  micro-batches of the step, so that 8 micro-batches add up to the gradient of one batch of 8. Reads nothing back. */
  accumulate(batch: Batch, patch: Patch, targetsOfStep: number): void;
  /** One AdamW step on the patch, then clears its gradients. Loshchilov & Hutter 2017, arXiv:1711.05101, alg. 2. Resolves with the step's one
   *  read-back: its loss (nats a target token) and the gradient's norm before clipping. */
  update(patch: Patch, options: AdamW): Promise<{ readonly loss: number; readonly gradNorm: number }>;
  /** The gradients accumulated so far, by PEFT name. For tests. */
  gradients(patch: Patch): Promise<ReadonlyMap<string, Float32Array>>;
  saveState(patch: Patch): Promise<OptimizerState>;
  loadState(patch: Patch, state: OptimizerState): void;
  /** Bytes that training a patch of `trainedValues` numbers on (B, T) micro-batches will allocate, before any of it is. `kind` is 'low-rank' (of one rank on
   *  all linears; an upper bound for fewer) unless told; `recompute` as in PatchOptions. */
  planTraining(
    shape: readonly [B: number, T: number],
    trainedValues: number,
    kind?: 'low-rank' | 'weights',
    recompute?: boolean,
  ): MemoryUse;
  /** GPU memory held now, in bytes. */
  readonly memory: MemoryUse;
  /** Resolves when the device is lost, with what the browser said. */
  readonly lost: Promise<string>;
  dispose(): void;
}

/** How one matrix is held on the GPU: in any type that files have. f16 and bf16 are packed in pairs and need no `shader-f16`; q8_0, q4_0, q4_1 (GGUF)
 *  and q4f16_1, q4f32_1 (MLC) are blocks of 32 numbers, bit for bit, in another order of bytes (`storage.ts`). */
export type WeightStorage = WeightType;
/** What is asked for a whole base: its matrices as the files have them, all in one type of floats, or quantized on load. `4-bit` holds the embedding and the
 *  head in 8 bits. `storageOf` says what comes of each tensor. */
export type StoragePlan = 'as-is' | 'f32' | 'f16' | '8-bit' | '4-bit';
