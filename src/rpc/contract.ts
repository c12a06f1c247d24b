import type { ColumnRole, Example, ImportFinding, ImportResult, RawTable, SplitShares, Task } from '../data/types.ts';
import type { MemoryUse, StoragePlan } from '../engine/types.ts';
import type { Board, ExampleComparison, Paired, Runtime, Split } from '../experiments/types.ts';
import type { MethodDeclaration, Prompt } from '../methods/types.ts';
import type { MetricDeclaration } from '../metrics/types.ts';
import type { ContestantRecord, ModelRecord } from '../storage/types.ts';
import type { Message, TemplateContext } from '../text/types.ts';

/** The worker in which a model's own chat template runs: a program from a stranger, killed when it takes too long. */
export interface TemplateApi {
  /** Resolves when the worker can render, so that its start is not counted as a render's time. */
  ready(): Promise<void>;
  render(source: string, context: TemplateContext): Promise<string>;
}

export interface DeviceReport {
  /** False: no WebGPU here; `why` and `fix` say what to do, and everything but the model works. */
  readonly available: boolean;
  readonly name: string;
  readonly software: boolean;
  readonly maxBufferBytes: number;
  readonly flopsPerSecond?: number;
  readonly why?: string;
  readonly fix?: string;
}
export interface PickedFile {
  /** Path inside the chosen folder, or the bare name. */
  readonly path: string;
  readonly file: Blob;
}
/** What was found in a choice of files, before anything is stored. */
export interface ModelInspection {
  readonly name: string;
  readonly format: 'safetensors' | 'gguf' | 'mlc';
  readonly architecture: string;
  readonly parameters: number;
  readonly fileBytes: number;
  readonly weightTypes: string;
  readonly context: number;
  readonly layers: number;
  readonly hasTemplate: boolean;
  readonly choices: readonly StorageChoice[];
  /** Said before loading: ignored files, a missing template, weights that have 4 bits already. */
  readonly notes: readonly { readonly code: string; readonly text: string }[];
}
/** One way of holding a model's weights on the GPU, with what it takes there in bytes, before anything is loaded. */
export interface StorageChoice {
  readonly storage: StoragePlan;
  /** Nothing is rounded: the numbers are those of the file. */
  readonly exact: boolean;
  /** The types of its matrices, most bytes first: "Q4_1 and Q8_0". */
  readonly types: string;
  readonly weightBytes: number;
  /** To chat, 1 024 tokens or the context where that is shorter; to train LoRA, rank 16, two rows of 256 tokens. */
  readonly chatBytes: number;
  readonly trainBytes: number;
  readonly recommended: boolean;
}
export interface Progress {
  /** What is being done now: "Reading model.safetensors". */
  readonly what: string;
  readonly done: number;
  readonly total: number;
  readonly unit: 'bytes' | 'rows' | 'steps' | 'tokens';
  readonly secondsLeft?: number;
}
export interface ModelStatus {
  readonly modelId: string;
  readonly storage: StoragePlan;
  readonly memory: MemoryUse;
  readonly context: number;
}

/** What stands between a model that is kept here and web-llm, said without loading anything. */
export interface WebllmOffer {
  /** Shards and library are here. */
  readonly ready: boolean;
  /** Of what is here, as MLC calls it; absent where no library is. */
  readonly quantization?: string;
  /** Bytes kept for web-llm beside the model's own files, which freeing gives back; 0 where nothing is. */
  readonly keptBytes: number;
  /** On the GPU: weights, cache and the library's own memory; known where it is ready. */
  readonly gpuBytes?: number;
  /** The quantizations whose library can be used, and the bytes of shards that are written for each; none are where the files are shards. */
  readonly takes: readonly { readonly quantization: string; readonly shardBytes: number }[];
  /** Why no library can help: a shape that MLC's layout does not have. */
  readonly problem?: { readonly code: string; readonly text: string };
}
/** What a library would do for a model, before anything is written. */
export interface LibraryInspection {
  readonly quantization: string;
  /** The model's own files are the shards; shards of the same numbers are made; or another model is made, with an id of its own. */
  readonly makes: 'nothing' | 'same-model' | 'new-model';
  /** Shards and library, written here. */
  readonly bytes: number;
  readonly gpuBytes: number;
}
/** A model in web-llm. */
export interface WebllmStatus {
  readonly modelId: string;
  /** Tokens that a prompt and its answer may have together there. */
  readonly context: number;
  /** GPU memory, as planned by the library's own numbers. */
  readonly bytes: number;
}
export interface RuntimeStatus {
  readonly webllm?: WebllmStatus;
  /** One of the two left the GPU for the other, in one sentence with the bytes of both; until the next load. */
  readonly left?: string;
}

/** One token of a row as the network sees it. */
export interface TokenChip {
  readonly id: number;
  readonly text: string;
  readonly kind: 'context' | 'trained' | 'stop' | 'cut';
}
export interface RowPreview {
  readonly rowId: string;
  readonly tokens: readonly TokenChip[];
  readonly trained: number;
  readonly limit: number;
  /** Said under the chips: the answer was encoded alone, only the last turn is trained, tokens over the limit. */
  readonly notes: readonly string[];
}

export interface DataRow {
  readonly id: string;
  /** From 1, as the screens number them. */
  readonly number: number;
  readonly split: 'train' | 'validation' | 'test' | 'unused';
  /** Tokens with the model in use; absent without a model. */
  readonly tokens?: number;
}
export interface DataReport {
  readonly rows: readonly DataRow[];
  readonly counts: { readonly train: number; readonly validation: number; readonly test: number; readonly unused: number };
  readonly findings: readonly (ImportFinding & { readonly rowIds: readonly string[] })[];
  /** Rows longer than the limit, which are left out of training and said so. */
  readonly tooLong: readonly string[];
  readonly limit?: number;
  /** Tokens of the longest training answer, with the model in use. */
  readonly longestTrainAnswer?: number;
  /** The longest answer where the person chose none. */
  readonly proposedAnswer?: number;
  /** The longest answer in force for scoring, in tokens. */
  readonly longestAnswer: number;
  readonly proposedShares: SplitShares;
  /** One sentence: how many validation rows prove a clear win. */
  readonly powerNote: string;
}

export interface Estimate {
  readonly seconds: number;
  readonly memory: MemoryUse;
  readonly steps: number;
  readonly trainRows: number;
  readonly trainTokens: number;
}
/** One line of the check before a run. */
export interface Check {
  readonly ok: boolean;
  /** The run cannot start before this is mended; other checks that are not in order only warn. */
  readonly stops?: boolean;
  readonly code: string;
  readonly text: string;
  readonly fix?: string;
}
export interface FitPlan {
  readonly estimate: Estimate;
  /** Every setting as the run will use it: what the spec leaves out is the default for this model. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What each setting would be if the spec left it out and kept the others. */
  readonly defaults: Readonly<Record<string, unknown>>;
  readonly checks: readonly Check[];
}
export interface FitSpec {
  readonly taskId: string;
  readonly method: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** In force while training: LoRA under a system prompt is ordinary. */
  readonly prompt: Prompt;
  readonly name: string;
  readonly seed: number;
  /** Row ids or texts asked before and during. */
  readonly pinned: readonly { readonly name: string; readonly messages: readonly Message[] }[];
}
export type FitEvent =
  | { readonly kind: 'started'; readonly runId: string; readonly steps: number }
  | {
      readonly kind: 'progress';
      readonly step: number;
      readonly steps: number;
      readonly tokensPerSecond: number;
      readonly secondsLeft: number;
    }
  | { readonly kind: 'point'; readonly step: number; readonly name: string; readonly value: number }
  | { readonly kind: 'sample'; readonly step: number; readonly name: string; readonly text: string }
  | { readonly kind: 'best'; readonly step: number; readonly score: number }
  | { readonly kind: 'note'; readonly code: string; readonly text: string };

export interface ChatRequest {
  /** Absent: the model on the GPU as it came, so that one can talk to it before there is a task. */
  readonly contestantId?: string;
  readonly messages: readonly Message[];
  /** 'webllm' needs the model in web-llm (loadWebllm); absent: our engine. */
  readonly runtime?: Runtime;
  /** 0 to 1.5, for contestants with trained weights. */
  readonly strength: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly seed: number;
  readonly maxTokens: number;
}
export interface ChatReply {
  readonly text: string;
  readonly promptTokens: number;
  readonly replyTokens: number;
  readonly tokensPerSecond: number;
  readonly firstTokenSeconds: number;
  readonly runtime: Runtime;
  /** Why it ran in our engine and not where it was asked to run. */
  readonly instead?: { readonly code: string; readonly text: string };
  readonly end: 'stop-token' | 'longest' | 'context' | 'stopped';
}

/** Trained weights over a base that is held in other numbers than those they were trained on. */
export interface HeldDifference {
  /** What answers now. Web-llm runs the numbers of the model's files. */
  readonly runtime: Runtime;
  readonly trainedOn: StorageChoice;
  readonly heldNow: StorageChoice;
  /** The run's pinned prompts, answered then by the state that was kept, and now. Empty where none was pinned. */
  readonly pinned: readonly { readonly name: string; readonly was: string; readonly now: string }[];
}

export type ExportFormat = 'peft' | 'gguf-lora' | 'prompt-json' | 'webllm';
export interface ExportedFile {
  readonly name: string;
  readonly mime: string;
  /** A Blob, so that a whole model stays on the disk. */
  readonly content: Blob;
}
/** What each export holds, before it is made. */
export interface ExportTarget {
  readonly format: ExportFormat;
  readonly name: string;
  readonly summary: string;
  readonly files: readonly string[];
  readonly bytes: number;
  readonly limits: string;
  /** The lines that load it elsewhere, for copying. */
  readonly howTo: { readonly language: string; readonly code: string; readonly note: string };
  /** What has to be brought before it can be made; `bytes` is without it. */
  readonly needs?: 'library';
}

/** What the engine worker can do. Everything may reject with an AppError; a signal that aborts ends a call early with what is done. */
export interface EngineApi {
  device(): Promise<DeviceReport>;
  /** Resolves with what the browser said when the GPU is lost. The worker is of no use from then on: the client starts a new one. */
  gpuLost(): Promise<string>;
  methods(): Promise<readonly MethodDeclaration[]>;
  metrics(): Promise<readonly MetricDeclaration[]>;

  /** Reads a file or a paste; nothing is stored. @throws 'data/empty', 'data/not-text' */
  importData(content: string | Uint8Array, fileName?: string): Promise<ImportResult>;
  mapColumns(
    table: RawTable,
    roles: readonly ColumnRole[],
  ): Promise<{ readonly examples: readonly Example[]; readonly findings: readonly ImportFinding[] }>;
  /** What the rows look like: the type of task, the metric to use and why, and the shares of the split. */
  propose(
    rows: readonly Example[],
  ): Promise<{ readonly type: Task; readonly metricId: string; readonly why: string; readonly shares: SplitShares }>;
  dataReport(taskId: string): Promise<DataReport>;
  /** @throws 'model/none' without a model in use */
  previewRow(taskId: string, rowId: string, prompt: Prompt): Promise<RowPreview>;

  inspectModel(files: readonly PickedFile[]): Promise<ModelInspection>;
  /** Keeps the files in OPFS by hash and makes the record; the model is not loaded. @throws 'storage/full' */
  importModel(
    files: readonly PickedFile[],
    name: string,
    storage: StoragePlan,
    onProgress: (p: Progress) => void,
    signal: AbortSignal,
  ): Promise<ModelRecord>;
  /** From OPFS onto the GPU. One model at a time; another one leaves first. */
  loadModel(modelId: string, onProgress: (p: Progress) => void, signal: AbortSignal): Promise<ModelStatus>;
  unloadModel(): Promise<void>;
  modelStatus(): Promise<ModelStatus | undefined>;
  /** Deletes the record and frees the bytes; contestants of it stay, and say that their model is gone. */
  deleteModel(modelId: string): Promise<number>;
  /** The ways in which a model that is kept here can be held, as `inspectModel` had them. */
  storageChoices(modelId: string): Promise<readonly StorageChoice[]>;

  webllmOffer(modelId: string): Promise<WebllmOffer>;
  /** Reads a model library (.wasm, .wasm.gz) and does not run it. @throws 'mlc/library-...', 'webllm/library-quantization' */
  inspectLibrary(modelId: string, library: PickedFile): Promise<LibraryInspection>;
  /** Writes shards of a model, where its files are none, and keeps them with the library. A library of 4 bits makes another model. @throws 'storage/full' */
  prepareWebllm(modelId: string, library: PickedFile, onProgress: (p: Progress) => void, signal: AbortSignal): Promise<ModelRecord>;
  /** Deletes what is kept for web-llm beside the model's own files. Resolves with the bytes freed. */
  freeWebllm(modelId: string): Promise<number>;
  /** Into web-llm, in a worker of its own. Our engine's model leaves first where both do not fit. @throws 'webllm/...', 'mlc/...', 'gpu/...' */
  loadWebllm(modelId: string, onProgress: (p: Progress) => void, signal: AbortSignal): Promise<WebllmStatus>;
  unloadWebllm(): Promise<void>;
  runtimeStatus(): Promise<RuntimeStatus>;

  /** The Base contestant of a task and its model, made when it is not there. */
  ensureBase(taskId: string): Promise<ContestantRecord>;
  /** Tokens that a prompt adds to each call. */
  promptTokens(taskId: string, prompt: Prompt): Promise<number>;
  /** Shots drawn from the training rows by seed. */
  drawShots(taskId: string, count: number, seed: number): Promise<readonly Example[]>;
  /** Saves a prompt as the next version. */
  savePrompt(taskId: string, prompt: Prompt, name?: string): Promise<ContestantRecord>;
  /** Answers the split's rows and scores them; what is done is kept when the signal aborts. `test` needs the test to be opened. `runtime` 'webllm' needs the
   *  model in web-llm; resolves with what was answered by our engine all the same, and why. */
  measure(
    contestantIds: readonly string[],
    split: Split,
    onProgress: (p: Progress & { readonly contestantId: string }) => void,
    signal: AbortSignal,
    runtime?: Runtime,
  ): Promise<readonly { readonly contestantId: string; readonly code: string; readonly text: string }[]>;
  /** Opens the test, once for all; what is made afterwards is marked. */
  openTest(taskId: string): Promise<void>;
  /** Where a contestant was answered by both runtimes, the score of `runtime` (absent: our engine) is shown and compared, and the other one is named. */
  board(taskId: string, split: Split, runtime?: Runtime): Promise<Board>;
  compare(
    contestantId: string,
    againstId: string,
    split: Split,
    runtime?: Runtime,
  ): Promise<{ readonly paired: Paired; readonly examples: readonly ExampleComparison[] }>;
  deleteContestant(contestantId: string): Promise<number>;

  planFit(spec: FitSpec): Promise<FitPlan>;
  /** Trains and adds the contestant. On abort the best so far is kept. */
  fit(spec: FitSpec, onEvent: (event: FitEvent) => void, signal: AbortSignal): Promise<ContestantRecord>;

  /** `onProgress` hears of what comes before the first word and takes its time: the self-test before the first adapter in web-llm. */
  chat(request: ChatRequest, onText: (piece: string) => void, signal: AbortSignal, onProgress?: (p: Progress) => void): Promise<ChatReply>;
  /** What it changes that the base is held otherwise than while a contestant was trained, measured on the run's pinned prompts; undefined where its numbers
   *  are the same, or where it is not known how it was held. `runtime` 'webllm' asks it of the model in web-llm; absent: our engine.
   *  @throws 'engine/busy', 'model/other', 'webllm/not-loaded' */
  heldDifference(contestantId: string, signal: AbortSignal, runtime?: Runtime): Promise<HeldDifference | undefined>;

  exportTargets(contestantId: string): Promise<readonly ExportTarget[]>;
  exportContestant(contestantId: string, format: ExportFormat): Promise<ExportedFile>;
  /** A PEFT .zip or its two files, a GGUF LoRA, or a prompt JSON becomes a contestant of the task. @throws 'adapter/other-base' */
  importContestant(taskId: string, files: readonly PickedFile[]): Promise<ContestantRecord>;

  /** Everything in IndexedDB and OPFS. */
  eraseEverything(): Promise<void>;
}
