// What the engine's worker holds: the device, the one model in use with what is loaded beside it, and the one job that may use the GPU.
import { type Gpu, openGpu } from '../../src/engine/device.ts';
import type { Engine, Patch } from '../../src/engine/types.ts';
import type { Runtime } from '../../src/experiments/types.ts';
import { AppError } from '../../src/lib/error.ts';
import type { ChatReply, ModelStatus } from '../../src/rpc/contract.ts';
import type { WebllmApi, WebllmLoaded } from '../../src/runtimes/types.ts';
import type { WebllmPlan } from '../../src/runtimes/webllm-memory.ts';
import type { ModelRecord } from '../../src/storage/types.ts';
import type { PromptRenderer, TemplateRenderer, Tokenizer } from '../../src/text/types.ts';

/** Held by the tab whose job uses the GPU now: the others watch it. */
const JOB_LOCK = 'maquette gpu-job';
/** Held by the tab that trains, so that a run whose tab is gone is known as one. */
export const RUN_LOCK = 'maquette training';
/** Two jobs that follow each other closely in different tabs are not in each other's way. */
const LOCK_WAIT_MS = 300;

export interface Loaded {
  readonly record: ModelRecord;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly renderer: PromptRenderer;
  /** Adapters on the GPU, by id, the one used last at the end. */
  readonly patches: Map<string, Patch>;
}

/** The model in web-llm, whose worker is another one. */
export interface InWebllm {
  readonly record: ModelRecord;
  readonly api: WebllmApi;
  readonly loaded: WebllmLoaded;
  readonly tokenizer: Tokenizer;
  readonly renderer: PromptRenderer;
  /** GPU memory. */
  readonly plan: WebllmPlan;
  /** Adapters on its GPU, by id, the one used last at the end. */
  readonly adapters: Set<string>;
}

/** What uses the GPU now, in words that finish "The GPU is busy: ...". */
export interface Job {
  readonly kind: 'loading' | 'measuring' | 'training' | 'answering' | 'deleting';
  readonly what: string;
  readonly taskId?: string;
  /** The contestant being scored, while measuring. */
  contestantId?: string;
}

export interface Session {
  readonly gpuApi: GPU | undefined;
  readonly templates: TemplateRenderer;
  gpu: Promise<Gpu> | undefined;
  loaded: Loaded | undefined;
  webllm: InWebllm | undefined;
  /** The model that was in web-llm when its GPU was lost, until it is there again: the next question takes it back. */
  lostInWebllm: ModelRecord | undefined;
  /** One of the two models left for the other: a sentence for the screen. */
  left: string | undefined;
  job: Job | undefined;
  /** The last chat; the next one waits for it, since columns answer one after the other. */
  chats: Promise<unknown>;
  /** Kernels are being measured, which is no job: it makes way for any. */
  tuning: boolean;
  /** Resolves with the browser's words when the device is lost. */
  readonly lost: Promise<string>;
  readonly sayLost: (why: string) => void;
}

export function createSession(gpuApi: GPU | undefined, templates: TemplateRenderer): Session {
  const { promise: lost, resolve: sayLost } = deferred<string>();
  return {
    ...{ gpuApi, templates, gpu: undefined, loaded: undefined, webllm: undefined, lostInWebllm: undefined },
    ...{ left: undefined, job: undefined, chats: Promise.resolve(), tuning: false, lost, sayLost },
  };
}

export function deferred<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** The device, opened at its first use. @throws 'gpu/unavailable' */
export function sessionGpu(session: Session): Promise<Gpu> {
  session.gpu ??= openGpu(session.gpuApi).then((gpu) => {
    void gpu.lost.then(session.sayLost);
    return gpu;
  });
  return session.gpu;
}

/** Runs `work` as the one job on the GPU. @throws 'engine/busy' with what runs, 'engine/other-tab' */
export async function exclusive<T>(session: Session, job: Job, work: (job: Job) => Promise<T>): Promise<T> {
  if (session.job !== undefined) {
    throw new AppError('engine/busy', `The GPU is busy: ${session.job.what}.`, {
      why: 'It does one thing at a time, so that each is as fast as it can be and repeatable.',
      fix: 'Wait until it is done, or stop it.',
      facts: { running: session.job.kind },
    });
  }
  session.job = job;
  try {
    // Deleting takes no time of the GPU.
    return job.kind === 'deleting' ? await work(job) : await alone(() => work(job));
  } finally {
    session.job = undefined;
  }
}

/** One job at a time on a device, whichever tab it is in. @throws 'engine/other-tab' */
async function alone<T>(work: () => Promise<T>): Promise<T> {
  let begun = false;
  try {
    return await navigator.locks.request(JOB_LOCK, { signal: AbortSignal.timeout(LOCK_WAIT_MS) }, () => {
      begun = true;
      return work();
    });
  } catch (error) {
    if (begun) throw error;
    throw new AppError('engine/other-tab', 'The GPU is at work for another tab.', {
      why: 'It does one thing at a time. What the other tab does is shown at the foot of this page; everything that needs no GPU can be done here meanwhile.',
      fix: 'Wait until the other tab is done, or stop it there.',
      cause: error,
    });
  }
}

/** @throws 'model/none' */
export function needLoaded(session: Session): Loaded {
  if (session.loaded !== undefined) return session.loaded;
  throw new AppError('model/none', 'No model is loaded.', {
    why: 'This needs the model itself: its tokenizer or its weights.',
    fix: 'Choose a model on the Models screen.',
  });
}

/** Who answers, as far as words and their limit go. */
export interface Place extends Pick<Loaded, 'record' | 'renderer' | 'tokenizer'> {
  readonly runtime: Runtime;
  readonly context: number;
  readonly instead?: ChatReply['instead'];
}
export function ownPlace(session: Session): Place {
  const { record, renderer, tokenizer, engine } = needLoaded(session);
  return { runtime: 'engine', record, renderer, tokenizer, context: engine.config.context };
}

/** The model in use, which must be the one that trained weights were made on. @throws 'model/none', 'model/other' */
export function needLoadedModel(session: Session, modelId: string, name: string): Loaded {
  const loaded = needLoaded(session);
  if (loaded.record.id === modelId) return loaded;
  throw new AppError('model/other', `${name} was made with another model than ${loaded.record.name}, which is loaded.`, {
    why: 'Trained weights fit the one model that they were trained on.',
    fix: 'Load its own model on the Models screen, or train again with this one.',
    facts: { needed: modelId, loaded: loaded.record.id },
  });
}

/** GPU memory that no one holds any more. */
export function unload(session: Session): void {
  const { loaded } = session;
  if (loaded === undefined) return;
  session.loaded = undefined;
  for (const patch of loaded.patches.values()) loaded.engine.disposePatch(patch);
  loaded.engine.dispose();
}

/** What is on the GPU now. */
export function statusOf({ loaded }: Session): ModelStatus | undefined {
  if (loaded === undefined) return undefined;
  const { weights, activations, training } = loaded.engine.memory;
  return {
    modelId: loaded.record.id,
    storage: loaded.engine.storage,
    memory: { weights, activations, training },
    context: loaded.engine.config.context,
  };
}
