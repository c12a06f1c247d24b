// Whatever comes back from the disk passes through here: it has the shape that the types promise, or it is reported.
import * as v from 'valibot';
import { AppError } from '../lib/error.ts';
import type {
  AdapterRecord,
  ContestantRecord,
  DatasetRecord,
  ModelRecord,
  ResultRecord,
  RunRecord,
  SettingRecord,
  StoreName,
  TaskRecord,
} from './types.ts';

export interface Records {
  models: ModelRecord;
  tasks: TaskRecord;
  datasets: DatasetRecord;
  contestants: ContestantRecord;
  results: ResultRecord;
  adapters: AdapterRecord;
  runs: RunRecord;
  settings: SettingRecord;
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const number = v.pipe(v.number(), v.finite());
const strings = v.array(v.string());
const split = v.picklist(['validation', 'test']);
const storage = v.picklist(['as-is', 'f32', 'f16', '8-bit', '4-bit']);
const file = v.object({ sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)), bytes: count, name: v.string() });
const files = v.array(file);

const message = v.object({ role: v.picklist(['system', 'user', 'assistant', 'tool']), content: v.string() });
export const exampleSchema = v.object({ id: v.string(), messages: v.array(message), targets: strings });
export const promptSchema = v.object({
  system: v.string(),
  shots: v.array(exampleSchema),
  cue: v.string(),
  extract: v.picklist(['whole', 'after-answer-mark', 'last-number', 'last-line']),
});
const shares = v.object({ train: number, validation: number, test: number });
const task = v.picklist([
  'classification',
  'extraction',
  'question-answering',
  'summarization',
  'rewriting',
  'creative-writing',
  'chat',
  'other',
]);
const role = v.picklist(['system', 'input', 'answer', 'id', 'ignore']);
const cost = v.object({ seconds: number, peakBytes: number, tokens: count, extraTokensPerCall: number, bytesToShip: count });
const settings = v.record(v.string(), v.unknown());
const seen = v.object({ trained: v.string(), chosen: v.string() });

const modelConfig = v.object({
  architecture: v.literal('llama'),
  C: count,
  L: count,
  NH: count,
  NKV: count,
  HS: count,
  F: count,
  V: count,
  context: count,
  normEps: number,
  ropeTheta: number,
  ropeScaling: v.exactOptional(
    v.union([
      v.object({ factor: number, lowFreqFactor: number, highFreqFactor: number, originalContext: number }),
      v.object({ divisors: v.array(number) }),
    ]),
  ),
  tied: v.boolean(),
  bosId: v.exactOptional(count),
  stopIds: v.array(count),
  padId: v.exactOptional(count),
});

const rowResult = v.object({
  exampleId: v.string(),
  reply: v.string(),
  answer: v.string(),
  score: number,
  promptTokens: count,
  replyTokens: count,
  cut: v.boolean(),
});

type SchemaOf<T> = v.GenericSchema<unknown, T>;
const schemas: { readonly [S in StoreName]: SchemaOf<Records[S]> } = {
  models: v.object({
    id: v.string(),
    name: v.string(),
    format: v.picklist(['safetensors', 'gguf', 'mlc']),
    config: modelConfig,
    files,
    bytes: count,
    parameters: count,
    weightTypes: v.string(),
    hasTemplate: v.boolean(),
    storage,
    webllm: v.exactOptional(v.object({ quantization: v.string(), files, library: file, bytes: count })),
    speeds: v.exactOptional(v.object({ engine: v.exactOptional(number), webllm: v.exactOptional(number) })),
    addedAt: number,
    lastUsedAt: number,
  }),
  tasks: v.object({
    id: v.string(),
    name: v.string(),
    type: task,
    metricId: v.string(),
    modelId: v.exactOptional(v.string()),
    seed: number,
    shares,
    longestAnswer: v.exactOptional(count),
    rowLimit: v.exactOptional(count),
    testOpenedAt: v.exactOptional(number),
    sampleId: v.exactOptional(v.string()),
    createdAt: number,
    updatedAt: number,
  }),
  datasets: v.object({
    taskId: v.string(),
    version: count,
    rows: v.array(exampleSchema),
    source: v.exactOptional(
      v.object({
        fileName: v.exactOptional(v.string()),
        roles: v.exactOptional(v.array(role)),
        table: v.exactOptional(v.object({ header: strings, rows: v.array(strings), lines: v.array(count) })),
        read: count,
        leftOut: count,
      }),
    ),
  }),
  contestants: v.object({
    id: v.string(),
    taskId: v.string(),
    name: v.string(),
    method: v.string(),
    modelId: v.string(),
    prompt: promptSchema,
    adapterId: v.exactOptional(v.string()),
    runId: v.exactOptional(v.string()),
    version: v.exactOptional(count),
    config: v.exactOptional(settings),
    cost,
    createdAt: number,
    afterTestOpened: v.boolean(),
    chosenOnValidation: v.boolean(),
    seen: v.exactOptional(seen),
    imported: v.boolean(),
  }),
  results: v.object({
    id: v.string(),
    contestantId: v.string(),
    taskId: v.string(),
    split,
    metricId: v.string(),
    modelId: v.string(),
    datasetVersion: count,
    splitSeed: number,
    shares,
    longestAnswer: count,
    runtime: v.exactOptional(v.picklist(['engine', 'webllm'])),
    heldAs: v.exactOptional(storage),
    rows: v.array(rowResult),
    complete: v.boolean(),
    seconds: number,
    measuredAt: number,
  }),
  adapters: v.object({
    id: v.string(),
    name: v.string(),
    modelId: v.string(),
    rank: count,
    alpha: number,
    rsLora: v.boolean(),
    targets: strings,
    parameters: count,
    files,
    bytes: count,
    createdAt: number,
  }),
  runs: v.object({
    id: v.string(),
    taskId: v.string(),
    method: v.string(),
    config: settings,
    model: v.string(),
    dataset: v.object({ id: v.string(), version: count }),
    prompt: promptSchema,
    seed: number,
    startedAt: number,
    status: v.picklist(['fitting', 'paused', 'evaluating', 'done', 'stopped', 'failed']),
    error: v.exactOptional(v.object({ code: v.string(), message: v.string() })),
    contestantId: v.exactOptional(v.string()),
    steps: count,
    step: count,
    best: v.exactOptional(v.object({ step: count, score: number })),
    // A loss may be infinite, so points are any number.
    curves: v.record(v.string(), v.array(v.object({ step: number, value: v.union([v.number(), v.nan()]) }))),
    samples: v.array(v.object({ step: number, name: v.string(), text: v.string() })),
    cost,
    name: v.exactOptional(v.string()),
    checkpoint: v.exactOptional(file),
    notes: v.exactOptional(v.array(v.object({ code: v.string(), text: v.string() }))),
    heldAs: v.exactOptional(storage),
    seen: v.exactOptional(seen),
    pinned: v.exactOptional(v.array(v.object({ name: v.string(), messages: v.array(message) }))),
  }),
  settings: v.object({ key: v.string(), value: v.union([v.string(), v.number(), v.boolean()]) }),
};

/** A record that is there but is not what this version can read. */
export interface Unreadable {
  readonly store: StoreName;
  readonly key: string;
  readonly problem: string;
}
const unreadable = new Map<string, Unreadable>();
const listeners = new Set<(all: readonly Unreadable[]) => void>();

/** Every record that could not be read so far, for the screen that says so. They stay on the disk as they are. */
export function unreadableRecords(): readonly Unreadable[] {
  return [...unreadable.values()];
}
export function onUnreadable(callback: (all: readonly Unreadable[]) => void): () => void {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

/** The record as its type; undefined where there is none, or after it was reported. Fields this version does not know are dropped. */
export function restore<S extends StoreName>(store: S, value: unknown): Records[S] | undefined {
  if (value === undefined) return undefined;
  const parsed = v.safeParse(schemas[store], value);
  const key = keyOf(value);
  if (parsed.success) {
    if (unreadable.size > 0) forgetUnreadable(store, key);
    return parsed.output;
  }
  const problem = parsed.issues.map((issue) => `${v.getDotPath(issue) ?? 'record'}: ${issue.message}`).join('; ');
  if (unreadable.get(`${store} ${key}`)?.problem === problem) return undefined;
  unreadable.set(`${store} ${key}`, { store, key, problem });
  for (const listener of listeners) listener(unreadableRecords());
  return undefined;
}

/** It was deleted, or written anew. */
export function forgetUnreadable(store: StoreName, key: string): void {
  if (unreadable.delete(`${store} ${key}`)) for (const listener of listeners) listener(unreadableRecords());
}

function keyOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return '';
  for (const name of ['id', 'taskId', 'key']) {
    const found: unknown = Reflect.get(value, name);
    if (typeof found === 'string') return found;
  }
  return '';
}

const promptFile = v.object({
  format: v.literal('maquette-prompt'),
  version: v.literal(1),
  name: v.string(),
  prompt: promptSchema,
});
export type PromptFile = v.InferOutput<typeof promptFile>;

/** A prompt kept as JSON text, or undefined where it is none. */
export function parsePrompt(text: string): v.InferOutput<typeof promptSchema> | undefined {
  try {
    const parsed = v.safeParse(promptSchema, JSON.parse(text));
    return parsed.success ? parsed.output : undefined;
  } catch {
    return undefined;
  }
}

/** A prompt that was exported as JSON, here or by somebody else. @throws 'prompt/unreadable' */
export function parsePromptFile(text: string): PromptFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw unreadablePrompt('It is not JSON.', cause);
  }
  const parsed = v.safeParse(promptFile, json);
  if (parsed.success) return parsed.output;
  throw unreadablePrompt(parsed.issues.map((issue) => `${v.getDotPath(issue) ?? 'file'}: ${issue.message}`).join('; '));
}

function unreadablePrompt(why: string, cause?: unknown): AppError {
  return new AppError('prompt/unreadable', 'This file is not a prompt that Maquette can read.', {
    why,
    fix: 'Choose a .json file that was saved here as a prompt: its first field is "format": "maquette-prompt".',
    cause,
  });
}
