// Training: hands a method what it may touch, keeps its states safe, and makes an adapter and a contestant of what it learned.

import type { Patch } from '../../src/engine/types.ts';
import { createFitEnv } from '../../src/experiments/fit-env.ts';
import { seenOf } from '../../src/experiments/seen.ts';
import type { Cost } from '../../src/experiments/types.ts';
import { AppError, asAppError, isAbort } from '../../src/lib/error.ts';
import { methodById } from '../../src/methods/registry.ts';
import type { Checkpoint, FitEnv } from '../../src/methods/types.ts';
import type { FitEvent, FitSpec } from '../../src/rpc/contract.ts';
import { storingBlobs } from '../../src/storage/blob-writer.ts';
import { bytesSource, freeUnreferenced } from '../../src/storage/blobs.ts';
import { saveContestant } from '../../src/storage/customizations.ts';
import { saveRun } from '../../src/storage/runs.ts';
import type { ContestantRecord } from '../../src/storage/types.ts';
import { encodeCheckpoint, placesOf, type TensorPlace } from './checkpoints.ts';
import { checkShots, promptBytes, promptCost } from './contestants.ts';
import { encodeTraining, trainingBytes, withSettingsThatTakeLess } from './fit-plan.ts';
import { keepTrained } from './keep-trained.ts';
import { createRunLog, type RunLog } from './run-log.ts';
import { exclusive, type Loaded, needLoaded, RUN_LOCK, type Session } from './session.ts';
import { longestAnswerOf, readTaskData, rowLimitOf, type TaskData } from './task-data.ts';
import { webllmMakesRoom } from './webllm-room.ts';

/** One training at a time on a device, whichever tab it is in. @throws 'engine/other-tab', 'engine/busy', and as the method */
export function runFit(
  session: Session,
  spec: FitSpec,
  onEvent: (event: FitEvent) => void,
  signal: AbortSignal,
): Promise<ContestantRecord> {
  const what = `${spec.name} is being trained`;
  return exclusive(session, { kind: 'training', what, taskId: spec.taskId }, () =>
    navigator.locks.request(RUN_LOCK, () => train(session, spec, onEvent, signal)),
  );
}

async function train(session: Session, spec: FitSpec, onEvent: (event: FitEvent) => void, signal: AbortSignal): Promise<ContestantRecord> {
  const loaded = needLoaded(session);
  const data = await readTaskData(spec.taskId);
  checkShots(data, spec.prompt);
  const method = methodById(spec.method);
  const config = method.config(spec.config, loaded.engine.config);
  const rows = await encodeTraining(loaded, data, spec.prompt);
  await webllmMakesRoom(session, trainingBytes(loaded, spec, rows.size));
  const startedAt = Date.now();
  const log = createRunLog(
    {
      id: crypto.randomUUID(),
      taskId: spec.taskId,
      name: spec.name,
      method: method.id,
      config,
      model: loaded.record.id,
      dataset: { id: data.dataset.id, version: data.dataset.version },
      prompt: spec.prompt,
      seed: spec.seed,
      startedAt,
      status: 'fitting',
      steps: method.training(spec.config, loaded.engine.config, rows.size)?.steps ?? 0,
      step: 0,
      curves: {},
      samples: [],
      cost: { seconds: 0, peakBytes: 0, tokens: 0, extraTokensPerCall: 0, bytesToShip: 0 },
      heldAs: loaded.engine.storage,
      seen: seenOf(data.dataset),
      pinned: spec.pinned,
    },
    onEvent,
  );
  await saveRun(log.record);
  const started = performance.now();
  const watch = { peakBytes: 0 };
  const extraTokensPerCall = await promptCost(session, data, spec.prompt);
  const cost = (): Cost => ({
    seconds: (performance.now() - started) / 1000,
    peakBytes: watch.peakBytes,
    tokens: Math.round((rows.size.tokens * passesOf(config) * log.record.step) / Math.max(1, log.record.steps)),
    extraTokensPerCall,
    bytesToShip: 0,
  });
  try {
    const env = fitEnv(loaded, data, spec, log, watch, signal);
    const made = await method.fit(env, config, loaded.engine.config);
    const contestant = await keep(loaded, data, spec, log, made.patch, made.prompt, cost(), config, signal);
    await log.end(signal.aborted ? 'stopped' : 'done', { contestantId: contestant.id, cost: contestant.cost });
    await freeUnreferenced();
    return contestant;
  } catch (cause) {
    const error =
      cause instanceof AppError && cause.code === 'gpu/out-of-memory' ? withSettingsThatTakeLess(cause, loaded, spec, rows.size) : cause;
    await failed(log, error, cost());
    throw error;
  }
}

function passesOf(config: Readonly<Record<string, unknown>>): number {
  return typeof config.epochs === 'number' ? config.epochs : 1;
}

/** What a run leaves behind that could not go on: its best so far where there is one, and why it ended. */
async function failed(log: RunLog, error: unknown, cost: Cost): Promise<void> {
  const run = { ...log.record, cost };
  const { code, message } = asAppError(error);
  const contestant = run.checkpoint === undefined || run.best === undefined ? undefined : await keepTrained(run).catch(() => undefined);
  const stopped = isAbort(error) || code === 'gpu/lost';
  await log.end(stopped ? 'stopped' : 'failed', {
    cost: contestant?.cost ?? cost,
    ...(isAbort(error) ? {} : { error: { code, message } }),
    ...(contestant === undefined ? {} : { contestantId: contestant.id }),
  });
  await freeUnreferenced();
}

function fitEnv(loaded: Loaded, data: TaskData, spec: FitSpec, log: RunLog, watch: { peakBytes: number }, signal: AbortSignal): FitEnv {
  const { engine, renderer } = loaded;
  const { task, dataset, metric } = data;
  const see = (): void => {
    const { weights, activations, training } = engine.memory;
    watch.peakBytes = Math.max(watch.peakBytes, weights + activations + training);
  };
  return createFitEnv({
    ...{ engine, renderer, metric, signal },
    train: dataset.train,
    validation: dataset.validation,
    seed: spec.seed,
    prompt: spec.prompt,
    pinned: spec.pinned,
    longestAnswer: longestAnswerOf(data, renderer, spec.prompt),
    rowLimit: rowLimitOf(task, engine.config.context),
    events: {
      progress(step, steps) {
        see();
        log.progress(step, steps);
      },
      report: log.report,
      sample: log.sample,
      best: log.best,
      note: log.note,
      checkpoint: (state, patch) => keepState(log, state, placesOf(patch)),
    },
  });
}

/** Writes a new file, then points to it, then frees the old one: a torn write is never the head (reliability.md section 0.9). */
async function keepState(log: RunLog, state: Checkpoint, places: readonly TensorPlace[]): Promise<void> {
  await storingBlobs(async (put) => {
    const name = `${log.record.id}.checkpoint`;
    const ref = await put(bytesSource(name, encodeCheckpoint(state, places)));
    await log.head({ ...ref, name });
  });
  await freeUnreferenced();
}

async function keep(
  loaded: Loaded,
  data: TaskData,
  spec: FitSpec,
  log: RunLog,
  patch: Patch | undefined,
  prompt: FitSpec['prompt'],
  cost: Cost,
  config: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<ContestantRecord> {
  const { engine } = loaded;
  if (patch === undefined) {
    const words: ContestantRecord = {
      id: crypto.randomUUID(),
      taskId: spec.taskId,
      name: spec.name,
      method: spec.method,
      modelId: loaded.record.id,
      prompt,
      runId: log.record.id,
      config,
      cost: { ...cost, bytesToShip: promptBytes(prompt) },
      createdAt: Date.now(),
      afterTestOpened: data.task.testOpenedAt !== undefined,
      chosenOnValidation: false,
      imported: false,
    };
    await saveContestant(words);
    return words;
  }
  try {
    if (signal.aborted && log.record.step === 0) {
      throw new DOMException('Training was stopped before its first step.', 'AbortError');
    }
    return await keepTrained({ ...log.record, cost }, { tensors: await engine.readPatch(patch), prompt });
  } finally {
    engine.disposePatch(patch);
  }
}
