// Answers the rows of a split with contestants and keeps each row as it is scored, so that Stop keeps what is done.
import type { Example } from '../../src/data/types.ts';
import { evaluate } from '../../src/experiments/runner.ts';
import type { RowResult, Split } from '../../src/experiments/types.ts';
import { AppError } from '../../src/lib/error.ts';
import type { EngineApi, Progress } from '../../src/rpc/contract.ts';
import { needContestant, readResult, resultId, saveContestant, saveResult } from '../../src/storage/customizations.ts';
import type { ContestantRecord, ResultRecord } from '../../src/storage/types.ts';
import { patchOf } from './adapters.ts';
import { promptCost } from './contestants.ts';
import { clock } from './progress.ts';
import { exclusive, type Job, needLoaded, needLoadedModel, type Session } from './session.ts';
import { longestAnswerOf, readTaskData, splitOf, type TaskData } from './task-data.ts';
import { tuneWhenIdle } from './tuning.ts';

/** While rows come, they are written this often; the last write is at the end. */
const SAVE_MS = 1000;

export async function measure(
  session: Session,
  contestantIds: readonly string[],
  split: Split,
  onProgress: Parameters<EngineApi['measure']>[2],
  signal: AbortSignal,
): Promise<void> {
  const contestants = await Promise.all(contestantIds.map(needContestant));
  const [first] = contestants;
  if (first === undefined) return;
  const what = contestants.length === 1 ? `${first.name} is being measured` : `${contestants.length} rows of the board are being measured`;
  await exclusive(session, { kind: 'measuring', what, taskId: first.taskId }, async (job) => {
    const data = await readTaskData(first.taskId);
    for (const contestant of contestants) {
      if (signal.aborted) return;
      if (contestant.taskId !== first.taskId) throw new AppError('app/bug', 'Contestants of different tasks were measured together.');
      await measureOne(session, job, contestant, data, split, onProgress, signal);
    }
  });
  void tuneWhenIdle(session);
}

async function measureOne(
  session: Session,
  job: Job,
  contestant: ContestantRecord,
  data: TaskData,
  split: Split,
  onProgress: (progress: Progress & { readonly contestantId: string }) => void,
  signal: AbortSignal,
): Promise<void> {
  // A prompt is words: it is measured with whatever model is in use. Base and trained weights belong to one model.
  const loaded = contestant.method === 'prompt' ? needLoaded(session) : needLoadedModel(session, contestant.modelId, contestant.name);
  const patch = await patchOf(session, contestant);
  job.contestantId = contestant.id;
  const { task, record, metric } = data;
  const rows = splitOf(data, split);
  const longestAnswer = longestAnswerOf(data, loaded.renderer, contestant.prompt);
  const conditions = {
    metricId: metric.id,
    modelId: loaded.record.id,
    datasetVersion: record.version,
    splitSeed: task.seed,
    shares: task.shares,
    longestAnswer,
    heldAs: loaded.engine.storage,
  };
  const before = await readResult(contestant.id, split);
  const goOn = before !== undefined && !before.complete && sameConditions(before, conditions);
  const done: RowResult[] = goOn ? [...before.rows] : [];
  const secondsBefore = goOn ? before.seconds : 0;
  const answered = new Set(done.map(({ exampleId }) => exampleId));
  const open = rows.filter(({ id }) => !answered.has(id));

  const started = performance.now();
  const recordNow = (complete: boolean): ResultRecord => ({
    id: resultId(contestant.id, split),
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
  const tick = clock(rows.length, 'rows', (progress) => onProgress({ ...progress, contestantId: contestant.id }), done.length);
  tick(`Scoring ${contestant.name}`, done.length);
  const evaluation = await evaluate({
    engine: loaded.engine,
    renderer: loaded.renderer,
    metric,
    rows: open,
    prompt: contestant.prompt,
    patch,
    longestAnswer,
    signal,
    onRow(result) {
      done.push(result);
      tick(`Scoring ${contestant.name}`, done.length);
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
  await countCost(session, contestant, data);
}

type Conditions = Pick<ResultRecord, 'metricId' | 'modelId' | 'datasetVersion' | 'splitSeed' | 'shares' | 'longestAnswer' | 'heldAs'>;
/** Answers under other conditions cannot stand beside these in one result. */
function sameConditions(before: Conditions, now: Conditions): boolean {
  const key = ({ metricId, modelId, datasetVersion, splitSeed, shares, longestAnswer, heldAs = 'f32' }: Conditions): string =>
    JSON.stringify([metricId, modelId, datasetVersion, splitSeed, shares.train, shares.validation, shares.test, longestAnswer, heldAs]);
  return key(before) === key(now);
}

function inOrder(results: readonly RowResult[], rows: readonly Example[]): RowResult[] {
  const byId = new Map(results.map((result) => [result.exampleId, result]));
  return rows.map(({ id }) => byId.get(id)).filter((result) => result !== undefined);
}

/** A prompt that was saved without a model gets its tokens counted when one first answers it. */
async function countCost(session: Session, contestant: ContestantRecord, data: TaskData): Promise<void> {
  const modelId = session.loaded?.record.id ?? contestant.modelId;
  const extraTokensPerCall = await promptCost(session, data, contestant.prompt);
  const known = await needContestant(contestant.id);
  if (known.cost.extraTokensPerCall === extraTokensPerCall && known.modelId === modelId) return;
  await saveContestant({ ...known, modelId, cost: { ...known.cost, extraTokensPerCall } });
}
