import type { ColumnRole, Example, RawTable, SplitShares, Task } from '../data/types.ts';
import type { StoragePlan } from '../engine/types.ts';
import type { Cost, RowResult, Run, Runtime, Seen, Split } from '../experiments/types.ts';
import type { ModelConfig } from '../formats/types.ts';
import type { Prompt } from '../methods/types.ts';
import type { Message } from '../text/types.ts';

/** Bytes in OPFS, named by their SHA-256 (64 hex digits). */
export interface BlobRef {
  readonly sha256: string;
  readonly bytes: number;
}

/** What a model needs in web-llm beside its own files. It is freed by itself, or goes with the model. */
export interface WebllmCopy {
  /** As MLC calls it: "q0f32" has the same numbers as the files of the model. */
  readonly quantization: string;
  /** Shards, index, chat config and tokenizer in MLC's layout; none where the model's own files are these. */
  readonly files: readonly (BlobRef & { readonly name: string })[];
  /** The model library, .wasm. */
  readonly library: BlobRef & { readonly name: string };
  readonly bytes: number;
}

/** A model on this device: its files as they were chosen, in OPFS. `id` is made of its files' hashes, so the same files are one model. */
export interface ModelRecord {
  readonly id: string;
  readonly name: string;
  readonly format: 'safetensors' | 'gguf' | 'mlc';
  readonly config: ModelConfig;
  readonly files: readonly (BlobRef & { readonly name: string })[];
  readonly bytes: number;
  readonly parameters: number;
  /** The storage types found in the files: "F32", "Q4_1 and Q8_0". */
  readonly weightTypes: string;
  readonly hasTemplate: boolean;
  /** How it is held on the GPU. */
  readonly storage: StoragePlan;
  readonly webllm?: WebllmCopy;
  /** Tokens a second of the last answer that was long enough to tell, by runtime: measured on this device, the prompt aside. */
  readonly speeds?: { readonly engine?: number; readonly webllm?: number };
  readonly addedAt: number;
  readonly lastUsedAt: number;
}

/** A task: its data, metric and choices. Rows are in `datasets`, so that renaming a task does not rewrite them. */
export interface TaskRecord {
  readonly id: string;
  readonly name: string;
  readonly type: Task;
  readonly metricId: string;
  readonly modelId?: string;
  /** Seed of the split, of shots and of training. */
  readonly seed: number;
  readonly shares: SplitShares;
  /** Tokens; when absent 1.5 times the longest training answer. */
  readonly longestAnswer?: number;
  /** Tokens of a row that training may use; when absent the model's context. */
  readonly rowLimit?: number;
  readonly testOpenedAt?: number;
  /** The sample of this site that it was made of, by id. */
  readonly sampleId?: string;
  readonly createdAt: number;
  readonly updatedAt: number;
}
export interface DatasetRecord {
  readonly taskId: string;
  /** Goes up with every change of rows, so that results of other rows are known as stale. */
  readonly version: number;
  readonly rows: readonly Example[];
  readonly source?: {
    readonly fileName?: string;
    readonly roles?: readonly ColumnRole[];
    /** As it was read, while the rows are all of it and nothing else, so that its columns can be given other roles. */
    readonly table?: RawTable;
    readonly read: number;
    readonly leftOut: number;
  };
}

/** What stands on the board: the base model, words around it, or trained weights. */
export interface ContestantRecord {
  readonly id: string;
  readonly taskId: string;
  readonly name: string;
  /** 'base', 'prompt' or the id of a method that trains. */
  readonly method: string;
  readonly modelId: string;
  readonly prompt: Prompt;
  readonly adapterId?: string;
  readonly runId?: string;
  /** Of a prompt: 1, 2, 3 ... within the task. */
  readonly version?: number;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly cost: Cost;
  readonly createdAt: number;
  readonly afterTestOpened: boolean;
  /** Its checkpoint was chosen by its score on the validation rows. */
  readonly chosenOnValidation: boolean;
  /** Of one that was trained here; absent in older ones. */
  readonly seen?: Seen;
  readonly imported: boolean;
}

/** How a contestant answered a split. */
export interface ResultRecord {
  /** `resultId` of contestant, split and runtime. */
  readonly id: string;
  readonly contestantId: string;
  readonly taskId: string;
  readonly split: Split;
  readonly metricId: string;
  readonly modelId: string;
  readonly datasetVersion: number;
  readonly splitSeed: number;
  readonly shares: SplitShares;
  readonly longestAnswer: number;
  /** What answered; absent in older results, which are our engine's. */
  readonly runtime?: Runtime;
  /** How the model was held while it answered; absent in older results. */
  readonly heldAs?: StoragePlan;
  readonly rows: readonly RowResult[];
  /** All rows of the split are there. */
  readonly complete: boolean;
  readonly seconds: number;
  readonly measuredAt: number;
}

export interface AdapterRecord {
  readonly id: string;
  readonly name: string;
  readonly modelId: string;
  readonly rank: number;
  readonly alpha: number;
  readonly rsLora: boolean;
  readonly targets: readonly string[];
  readonly parameters: number;
  /** The PEFT files (adapter_config.json, adapter_model.safetensors) in OPFS. */
  readonly files: readonly (BlobRef & { readonly name: string })[];
  readonly bytes: number;
  readonly createdAt: number;
}

export interface RunRecord extends Run {
  /** The name its contestant gets. */
  readonly name?: string;
  /** Its newest safe state in OPFS, while it trains: the head that a new state replaces only when it is on the disk. */
  readonly checkpoint?: BlobRef & { readonly name: string };
  /** What the run said on its way: a step that was taken back, an early end. */
  readonly notes?: readonly RunNote[];
  /** How the base was held while it trained; absent in older runs. */
  readonly heldAs?: StoragePlan;
  /** The rows of its split, which may be another one when it has ended; absent in older runs. */
  readonly seen?: Seen;
  /** The pinned conversations, by the names of their samples. */
  readonly pinned?: readonly { readonly name: string; readonly messages: readonly Message[] }[];
}
export interface RunNote {
  readonly code: string;
  readonly text: string;
}

/** One choice of the person that belongs to no task: the last task, the appearance. */
export interface SettingRecord {
  readonly key: string;
  readonly value: string | number | boolean;
}

export interface StorageUse {
  readonly models: number;
  readonly adapters: number;
  readonly records: number;
  /** navigator.storage.persisted(), where the browser tells. */
  readonly persisted?: boolean;
}
export type StoreName = 'models' | 'tasks' | 'datasets' | 'contestants' | 'results' | 'adapters' | 'runs' | 'settings';
