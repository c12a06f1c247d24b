/** How a tensor's bytes are laid out. Blocks are 32 weights along the last axis: `q8_0`, `q4_0` and `q4_1` are those of GGUF, `q4f16_1` and
 *  `q4f32_1` are MLC's groups with their scale in front, the latter's widened to f32. */
export type WeightType = 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q4_0' | 'q4_1' | 'q4f16_1' | 'q4f32_1';

/** Llama 3's stretching of low rotary frequencies: `rope_scaling` of config.json with rope_type "llama3". */
export interface Llama3RopeScaling {
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalContext: number;
}

/** A decoder of the Llama family. Letters as everywhere: C hidden, L layers, NH heads, NKV key-value heads, HS head size, F MLP width, V vocabulary. */
export interface ModelConfig {
  readonly architecture: 'llama';
  readonly C: number;
  readonly L: number;
  readonly NH: number;
  readonly NKV: number;
  readonly HS: number;
  readonly F: number;
  readonly V: number;
  /** Longest sequence in tokens. */
  readonly context: number;
  readonly normEps: number;
  readonly ropeTheta: number;
  /** Llama 3 scaling, or the (HS / 2) divisors of each rotary frequency as a GGUF stores them. */
  readonly ropeScaling?: Llama3RopeScaling | { readonly divisors: readonly number[] };
  /** The output head is the token embedding. */
  readonly tied: boolean;
  readonly bosId?: number;
  /** Every id that ends generation, of config.json and generation_config.json together, first the one of generation_config.json. */
  readonly stopIds: readonly number[];
  readonly padId?: number;
}

/** A tokenizer as its files say. `json` is a parsed tokenizer.json (a GGUF's vocabulary is turned into one), `config` a parsed tokenizer_config.json. */
export interface TokenizerSpec {
  readonly json: object;
  readonly config: object;
  /** The Jinja source of the chat template, where there is one. */
  readonly chatTemplate?: string;
}

/** One tensor with its bytes in `dtype`, by its Hugging Face name, rows in Hugging Face order. Shape slowest axis first. */
export interface RawTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: WeightType;
  readonly bytes: Uint8Array;
}

/** What a source of weights knows of a tensor before reading it. `bytes` is its size in the file. */
export interface TensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: WeightType;
  readonly bytes: number;
}

/** A file that can be read by slices: a picked `File`, a file of OPFS, a file on disk, or bytes in memory. */
export interface ByteSource {
  /** Path inside the chosen folder, or the bare name. */
  readonly name: string;
  readonly size: number;
  /** Bytes [start, end). */
  read(start: number, end: number): Promise<Uint8Array>;
}

/** Where weights come from. Safetensors, GGUF and MLC shards are read the same way. */
export interface ModelSource {
  readonly format: 'safetensors' | 'gguf' | 'mlc';
  /** A name for people: the GGUF's general.name, the config's _name_or_path, or the folder. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly tokenizer: TokenizerSpec;
  /** The files that make up the model, to be kept. */
  readonly files: readonly ByteSource[];
  readonly tensorInfos: readonly TensorInfo[];
  /** Of MLC alone: the model library (.wasm) that was beside the shards, by name, and what is wrong with it; then it is not among `files`. Empty where none was. */
  readonly library?: { readonly name?: string; readonly problem?: { readonly code: string; readonly text: string } };
  /** Reads every byte of the weights against the sums that the model's own files state; where a format states none, there is none of this.
   *  @throws 'mlc/shard-hash' */
  verify?(signal?: AbortSignal): Promise<void>;
  /** One tensor at a time, so a model is never in memory twice. @throws 'format/truncated', 'format/unsupported-dtype' */
  tensors(): AsyncIterable<RawTensor>;
}

/** A LoRA adapter in plain numbers, as every format understands it. Factors in f32: A (R, in), B (out, R). */
export interface PortableAdapter {
  readonly kind: 'lora';
  /** Hugging Face id or name of the base, where known; never a local path. */
  readonly baseModel?: string;
  readonly rank: number;
  readonly alpha: number;
  readonly rsLora: boolean;
  readonly dropout: number;
  readonly modules: readonly PortableLora[];
  /** What a reader should be told: non-finite numbers, ignored fields. */
  readonly warnings?: readonly string[];
}
export interface PortableLora {
  /** Module path in the Hugging Face model: `model.layers.3.self_attn.q_proj`. */
  readonly module: string;
  /** This module's own rank and alpha, where `rank_pattern` or `alpha_pattern` override the adapter's. */
  readonly rank: number;
  readonly alpha: number;
  readonly A: Float32Array;
  readonly B: Float32Array;
  /** in and out features. */
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** An adapter as other programs know it. PEFT: `read(write(a))` has a's tensors bit for bit. GGUF folds scales into B: same logits. */
export interface AdapterFile {
  readonly format: 'peft' | 'gguf-lora';
  /** Files by name. `config` gives the head counts that GGUF's row order needs. @throws 'adapter/...', 'format/...' */
  read(files: ReadonlyMap<string, Uint8Array>, config: ModelConfig): PortableAdapter;
  write(adapter: PortableAdapter, config: ModelConfig): ReadonlyMap<string, Uint8Array>;
}
