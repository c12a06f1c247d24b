// Who stands on a task's board, and the board itself.
import { type BoardResult, buildBoard, byRuntime } from '../../src/experiments/board.ts';
import { acrossRuntimes, compareExamples, compareTwo } from '../../src/experiments/compare.ts';
import { extraTokens } from '../../src/experiments/runner.ts';
import { metIn } from '../../src/experiments/seen.ts';
import type { Board, Cost, Runtime, Split } from '../../src/experiments/types.ts';
import { AppError } from '../../src/lib/error.ts';
import { withCue } from '../../src/methods/compose.ts';
import { methods } from '../../src/methods/registry.ts';
import type { Prompt } from '../../src/methods/types.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import type { EngineApi, StorageChoice } from '../../src/rpc/contract.ts';
import { freeUnreferenced } from '../../src/storage/blobs.ts';
import {
  deleteContestantRecords,
  listContestants,
  listResults,
  needContestant,
  readContestant,
  readResults,
  saveContestant,
} from '../../src/storage/customizations.ts';
import { readRun } from '../../src/storage/runs.ts';
import { needTask, updateTask } from '../../src/storage/tasks.ts';
import type { ContestantRecord, ResultRecord } from '../../src/storage/types.ts';
import { dropPatch } from './adapters.ts';
import { exclusive, type Session } from './session.ts';
import { longestAnswerOf, readTaskData, splitOf, type TaskData } from './task-data.ts';

const NO_COST: Cost = { seconds: 0, peakBytes: 0, tokens: 0, extraTokensPerCall: 0, bytesToShip: 0 };

/** The model that a task is worked on with: the one it names, else the one in use. */
function modelOf(session: Session, { task }: Pick<TaskData, 'task'>): string | undefined {
  return task.modelId ?? session.loaded?.record.id;
}

/** @throws 'model/none' where the task names no model and none is loaded */
export async function ensureBase(session: Session, taskId: string): Promise<ContestantRecord> {
  const task = await needTask(taskId);
  const modelId = modelOf(session, { task });
  if (modelId === undefined) {
    throw new AppError('model/none', 'No model is chosen for this task.', { fix: 'Choose a model on the Models screen.' });
  }
  const known = (await listContestants(taskId)).find((contestant) => contestant.method === 'base' && contestant.modelId === modelId);
  if (known !== undefined) return known;
  const base: ContestantRecord = {
    // The same in every tab, so that two tabs make one Base.
    id: `base ${taskId} ${modelId}`,
    taskId,
    name: 'Base',
    method: 'base',
    modelId,
    prompt: emptyPrompt,
    cost: NO_COST,
    createdAt: Date.now(),
    afterTestOpened: false,
    chosenOnValidation: false,
    imported: false,
  };
  await saveContestant(base);
  return base;
}

/** Tokens that a prompt adds to a call, by the model in use; 0 where none is: it is counted when the prompt is first measured. */
export async function promptCost(session: Session, { dataset }: TaskData, prompt: Prompt): Promise<number> {
  return session.loaded === undefined ? 0 : extraTokens(session.loaded.renderer, dataset.train, prompt);
}

/** The next version of the task's prompts. Shots come from the training rows only. @throws 'prompt/shot-not-training' */
export async function savePrompt(session: Session, taskId: string, prompt: Prompt, name?: string): Promise<ContestantRecord> {
  const data = await readTaskData(taskId);
  checkShots(data, prompt);
  const versions = (await listContestants(taskId)).flatMap((contestant) =>
    contestant.method === 'prompt' ? (contestant.version ?? 0) : [],
  );
  const version = Math.max(0, ...versions) + 1;
  const record: ContestantRecord = {
    id: crypto.randomUUID(),
    taskId,
    name: name?.trim() || `Prompt ${version}`,
    method: 'prompt',
    modelId: modelOf(session, data) ?? '',
    // Only the training answers tell how an answer is taken out of a step-by-step reply.
    prompt: withCue(prompt, prompt.cue, data.dataset.train),
    version,
    cost: { ...NO_COST, extraTokensPerCall: await promptCost(session, data, prompt), bytesToShip: promptBytes(prompt) },
    createdAt: Date.now(),
    afterTestOpened: data.task.testOpenedAt !== undefined,
    chosenOnValidation: false,
    imported: false,
  };
  await saveContestant(record);
  return record;
}

export function promptBytes(prompt: Prompt): number {
  return new TextEncoder().encode(JSON.stringify(prompt)).length;
}

/** A validation or test row among the shots would be an answer given away. */
export function checkShots({ dataset }: TaskData, prompt: Prompt): void {
  const scored = new Set([...dataset.validation, ...dataset.test].map(({ id }) => id));
  const wrong = prompt.shots.filter(({ id }) => scored.has(id));
  if (wrong.length === 0) return;
  throw new AppError(
    'prompt/shot-not-training',
    `${wrong.length} of ${prompt.shots.length} shots ${wrong.length === 1 ? 'is a row' : 'are rows'} that scores are measured on.`,
    {
      why: 'A model that is shown an answer only has to repeat it, so the score would mean nothing.',
      fix: 'Draw the shots again, or pick training rows.',
      facts: { rows: wrong.map(({ id }) => id).join(' ') },
    },
  );
}

export async function openTest(taskId: string): Promise<void> {
  const { dataset } = await readTaskData(taskId);
  if (dataset.test.length === 0) {
    throw new AppError('test/none', 'This task has no test rows.', {
      why: 'Under 60 rows a fifth of them is too few to tell anything, so all of them train or validate.',
      fix: 'Add rows, or give the test a share on the Data screen.',
    });
  }
  await updateTask(taskId, (task) => ({ ...task, testOpenedAt: task.testOpenedAt ?? Date.now() }));
}

export async function board(session: Session, taskId: string, split: Split, runtime: Runtime = 'engine'): Promise<Board> {
  const data = await readTaskData(taskId);
  const { task, record, metric } = data;
  const [contestants, results] = await Promise.all([listContestants(taskId), listResults(taskId, split)]);
  const { loaded, job } = session;
  const modelId = modelOf(session, data);
  const heldBy = await heldWays(results);
  const busy = new Map<string, 'scoring'>();
  if (job?.kind === 'measuring' && job.contestantId !== undefined) busy.set(job.contestantId, 'scoring');
  const rows = splitOf(data, split);
  const marks = new Map(methods.map((method) => [method.id, method.mark]));
  const placed = (place: number): Map<string, BoardResult> =>
    new Map(
      contestants.flatMap(({ id }) => {
        const result = byRuntime(
          results.filter(({ contestantId }) => contestantId === id),
          runtime,
        )[place];
        return result === undefined ? [] : [[id, { ...result, held: heldBy.get(result.id) }] as const];
      }),
    );
  return buildBoard({
    taskId,
    split,
    metric,
    contestants,
    results: placed(0),
    others: placed(1),
    now: { metricId: task.metricId, modelId, datasetVersion: record.version, splitSeed: task.seed, shares: task.shares },
    longestAnswer: (prompt) =>
      loaded === undefined || loaded.record.id !== modelId ? undefined : longestAnswerOf(data, loaded.renderer, prompt),
    exampleIds: rows.map(({ id }) => id),
    met: new Map(contestants.map((contestant) => [contestant.id, metIn(rows, contestant)])),
    busy,
    seed: task.seed,
    mark: (method) => marks.get(method),
    testOpenedAt: task.testOpenedAt,
  });
}

/** How the model was held for each result, by result id. Plans that come to the numbers of the file are one way. */
async function heldWays(results: readonly ResultRecord[]): Promise<ReadonlyMap<string, NonNullable<BoardResult['held']>>> {
  const plans = new Set(results.flatMap(({ heldAs }) => heldAs ?? []));
  // One way is told apart from nothing: the files need not be opened.
  const byModel = new Map<string, readonly StorageChoice[]>();
  if (plans.size > 1) {
    const { storageChoices } = await import('./models.ts');
    // A model whose files are gone still has its scores.
    for (const id of new Set(results.map(({ modelId }) => modelId))) byModel.set(id, await storageChoices(id).catch(() => []));
  }
  return new Map(
    results.flatMap(({ id, modelId, heldAs }) => {
      if (heldAs === undefined) return [];
      const choice = byModel.get(modelId)?.find(({ storage }) => storage === heldAs);
      return [[id, { key: choice?.exact === true ? 'exact' : heldAs, words: choice?.types ?? heldAs }]];
    }),
  );
}

export async function compare(
  contestantId: string,
  againstId: string,
  split: Split,
  runtime: Runtime = 'engine',
): ReturnType<EngineApi['compare']> {
  const [contestant, against] = await Promise.all([needContestant(contestantId), needContestant(againstId)]);
  const data = await readTaskData(contestant.taskId);
  const [[after], [before]] = await Promise.all(
    [contestant, against].map(async ({ id }) => byRuntime(await readResults(id, split), runtime)),
  );
  const numbers = new Map(data.record.rows.map(({ id }, i) => [id, i + 1]));
  const rows = splitOf(data, split).map((example) => ({ example, number: numbers.get(example.id) ?? 0 }));
  const [earlier, later] = [before?.rows ?? [], after?.rows ?? []];
  return {
    paired: { ...compareTwo(earlier, later, data.metric, data.task.seed), ...acrossRuntimes(runtimeOf(before), runtimeOf(after)) },
    examples: compareExamples(earlier, later, rows, data.metric),
  };
}

function runtimeOf(result: ResultRecord | undefined): Runtime {
  return result?.runtime ?? 'engine';
}

export async function deleteContestant(session: Session, id: string): Promise<number> {
  const found = await readContestant(id);
  // Deleted already, by a second press or in another tab.
  if (found === undefined) return freeUnreferenced();
  const { adapterId, runId, name } = found;
  if (session.job?.kind === 'measuring' && session.job.contestantId === id) {
    throw new AppError('engine/busy', `${name} is being measured now.`, { fix: 'Stop the measurement first.' });
  }
  if (runId !== undefined && (await readRun(runId))?.status === 'fitting') {
    throw new AppError('engine/busy', 'This customization is being trained now.', { fix: 'Stop the training first.' });
  }
  if (adapterId !== undefined && session.loaded?.patches.has(adapterId) === true) {
    await exclusive(session, { kind: 'deleting', what: 'an adapter is leaving the GPU' }, async () => dropPatch(session, adapterId));
  }
  await deleteContestantRecords(id);
  return freeUnreferenced();
}
