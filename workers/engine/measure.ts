// Answers the rows of a split with contestants and keeps each row as it is scored, so that Stop keeps what is done.
import type { Example } from '../../src/data/types.ts';
import type { Patch, StoragePlan } from '../../src/engine/types.ts';
import { type Answerer, evaluate, extraTokens } from '../../src/experiments/runner.ts';
import type { RowResult, Runtime, Split } from '../../src/experiments/types.ts';
import { AppError } from '../../src/lib/error.ts';
import type { EngineApi, Progress } from '../../src/rpc/contract.ts';
import {
  listContestants,
  needContestant,
  readContestant,
  readResults,
  resultId,
  saveResult,
  updateContestant,
} from '../../src/storage/customizations.ts';
import type { ContestantRecord, ResultRecord } from '../../src/storage/types.ts';
import { patchOf } from './adapters.ts';
import { clock } from './progress.ts';
import { exclusive, needLoaded, needLoadedModel, type Place, type Session } from './session.ts';
import { longestAnswerOf, promptFor, readTaskData, splitOf, type TaskData } from './task-data.ts';
import { tuneWhenIdle } from './tuning.ts';

/** While rows come, they are written this often; the last write is at the end. */
const SAVE_MS = 1000;

export async function measure(
  session: Session,
  contestantIds: readonly string[],
  split: Split,
  onProgress: Parameters<EngineApi['measure']>[2],
  signal: AbortSignal,
  runtime: Runtime = 'engine',
): ReturnType<EngineApi['measure']> {
  const contestants = await Promise.all(contestantIds.map(needContestant));
  const [first] = contestants;
  const inOurs: { contestantId: string; code: string; text: string }[] = [];
  if (first === undefined) return inOurs;
  const what = contestants.length === 1 ? `${first.name} is being measured` : `${contestants.length} rows of the board are being measured`;
  await exclusive(session, { kind: 'measuring', what, taskId: first.taskId }, async (job) => {
    const data = await readTaskData(first.taskId);
    for (const contestant of contestants) {
      if (signal.aborted) return;
      // Deleted while another one was measured.
      if (!(await listContestants(first.taskId)).some(({ id }) => id === contestant.id)) continue;
      if (contestant.taskId !== first.taskId) throw new AppError('app/bug', 'Contestants of different tasks were measured together.');
      const tell = (progress: Progress): void => onProgress({ ...progress, contestantId: contestant.id });
      job.contestantId = contestant.id;
      const who = runtime === 'webllm' ? await inWebllm(session, contestant, tell, signal) : await inEngine(session, contestant);
      if (who.instead !== undefined) inOurs.push({ contestantId: contestant.id, ...who.instead });
      await measureOne(who, contestant, data, split, tell, signal);
    }
  });
  void tuneWhenIdle(session);
  return inOurs;
}

/** Who answers for a contestant, with its weights in use. */
interface Who extends Pick<Place, 'runtime' | 'record' | 'renderer' | 'instead'> {
  readonly answerer: Answerer;
  readonly patch?: Patch | undefined;
  /** In which numbers the model answers. */
  readonly heldAs: StoragePlan;
}

async function inEngine(session: Session, contestant: ContestantRecord): Promise<Who> {
  // A prompt is words: it is measured with whatever model is in use. Base and trained weights belong to one model.
  const loaded = contestant.method === 'prompt' ? needLoaded(session) : needLoadedModel(session, contestant.modelId, contestant.name);
  const { engine, record, renderer } = loaded;
  return { runtime: 'engine', record, renderer, answerer: engine, patch: await patchOf(session, contestant), heldAs: engine.storage };
}

async function inWebllm(session: Session, contestant: ContestantRecord, tell: (p: Progress) => void, signal: AbortSignal): Promise<Who> {
  const { placeOf } = await import('./webllm-answers.ts');
  const place = await placeOf(session, contestant, 1, tell, signal);
  if (place.runtime === 'engine') return { ...(await inEngine(session, contestant)), ...place };
  const [{ webllmAnswerer }, { storageChoices }] = await Promise.all([import('./webllm.ts'), import('./models.ts')]);
  // Shards hold the numbers of the model's files.
  const exact = (await storageChoices(place.record.id)).find((choice) => choice.recommended);
  return { ...place, answerer: webllmAnswerer(session), heldAs: exact?.storage ?? 'as-is' };
}

async function measureOne(
  who: Who,
  contestant: ContestantRecord,
  data: TaskData,
  split: Split,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<void> {
  const { runtime, renderer, heldAs } = who;
  const { task, record, metric } = data;
  const rows = splitOf(data, split);
  const longestAnswer = longestAnswerOf(data, renderer, contestant.prompt);
  const conditions = {
    metricId: metric.id,
    modelId: who.record.id,
    datasetVersion: record.version,
    splitSeed: task.seed,
    shares: task.shares,
    longestAnswer,
    runtime,
    heldAs,
  };
  const before = (await readResults(contestant.id, split)).find((result) => !result.complete && sameConditions(result, conditions));
  const done: RowResult[] = [...(before?.rows ?? [])];
  const secondsBefore = before?.seconds ?? 0;
  const answered = new Set(done.map(({ exampleId }) => exampleId));
  const open = rows.filter(({ id }) => !answered.has(id));

  const started = performance.now();
  const recordNow = (complete: boolean): ResultRecord => ({
    id: resultId(contestant.id, split, runtime),
    contestantId: contestant.id,
    taskId: contestant.taskId,
    split,
    ...conditions,
    rows: inOrder(done, rows),
    complete,
    seconds: secondsBefore + (performance.now() - started) / 1000,
    measuredAt: Date.now(),
  });
  let saving: Promise<void> = Promise.resolve();
  let failure: unknown;
  let savedAt = started;
  const tick = clock(rows.length, 'rows', onProgress, done.length);
  const what = `Scoring ${contestant.name}${runtime === 'webllm' ? ' in web-llm' : ''}`;
  tick(what, done.length);
  const evaluation = await evaluate({
    engine: who.answerer,
    renderer,
    metric,
    rows: open,
    prompt: promptFor(data, contestant.prompt),
    patch: who.patch,
    longestAnswer,
    signal,
    onRow(result) {
      done.push(result);
      tick(what, done.length);
      if (performance.now() - savedAt < SAVE_MS) return;
      savedAt = performance.now();
      const snapshot = recordNow(false);
      // One write after the other: an older one must not overtake a newer one.
      saving = saving
        .then(() => saveResult(snapshot))
        .catch((error: unknown) => {
          failure ??= error;
        });
    },
  });
  await saving;
  if (failure !== undefined) throw failure;
  // Nothing measured is no result: a Stop before the first row keeps what was there.
  if (done.length > 0 || evaluation.complete) await saveResult(recordNow(evaluation.complete));
  await countCost(who, contestant, data);
}

type Conditions = Pick<
  ResultRecord,
  'metricId' | 'modelId' | 'datasetVersion' | 'splitSeed' | 'shares' | 'longestAnswer' | 'runtime' | 'heldAs'
>;
/** Answers under other conditions cannot stand beside these in one result. */
function sameConditions(before: Conditions, now: Conditions): boolean {
  const key = ({
    metricId,
    modelId,
    datasetVersion,
    splitSeed,
    shares,
    longestAnswer,
    runtime = 'engine',
    heldAs = 'f32',
  }: Conditions): string =>
    JSON.stringify([
      ...[metricId, modelId, datasetVersion, splitSeed],
      ...[shares.train, shares.validation, shares.test, longestAnswer, runtime, heldAs],
    ]);
  return key(before) === key(now);
}

function inOrder(results: readonly RowResult[], rows: readonly Example[]): RowResult[] {
  const byId = new Map(results.map((result) => [result.exampleId, result]));
  return rows.map(({ id }) => byId.get(id)).filter((result) => result !== undefined);
}

/** A prompt that was saved without a model gets its tokens counted when one first answers it. */
async function countCost({ record, renderer }: Who, contestant: ContestantRecord, { dataset }: TaskData): Promise<void> {
  const modelId = record.id;
  const extraTokensPerCall = await extraTokens(renderer, dataset.train, contestant.prompt);
  const known = await readContestant(contestant.id);
  // Deleted in another tab, or known already.
  if (known === undefined || (known.cost.extraTokensPerCall === extraTokensPerCall && known.modelId === modelId)) return;
  await updateContestant(known.id, (now) => ({ ...now, modelId, cost: { ...now.cost, extraTokensPerCall } }));
}
