// A task as every part of the worker sees it: its record, its rows and their split.
import { datasetOf } from '../../src/data/split.ts';
import type { Dataset, Example } from '../../src/data/types.ts';
import { longestAnswer as proposedLongest, STEP_TOKENS } from '../../src/experiments/runner.ts';
import type { Split } from '../../src/experiments/types.ts';
import { AppError } from '../../src/lib/error.ts';
import { withCue } from '../../src/methods/compose.ts';
import type { Prompt } from '../../src/methods/types.ts';
import { metricById } from '../../src/metrics/registry.ts';
import type { Metric } from '../../src/metrics/types.ts';
import { needTask, readDataset } from '../../src/storage/tasks.ts';
import type { DatasetRecord, TaskRecord } from '../../src/storage/types.ts';
import type { PromptRenderer } from '../../src/text/types.ts';

export interface TaskData {
  readonly task: TaskRecord;
  readonly record: DatasetRecord;
  readonly dataset: Dataset;
  readonly metric: Metric;
}

/** @throws 'task/missing', 'metric/unknown' */
export async function readTaskData(taskId: string): Promise<TaskData> {
  const [task, record] = await Promise.all([needTask(taskId), readDataset(taskId)]);
  const { version, rows } = record;
  const dataset = datasetOf({ id: taskId, version, seed: task.seed, task: task.type, rows, shares: task.shares });
  return { task, record, dataset, metric: metricById(task.metricId) };
}

/** The rows that a split is scored on. @throws 'test/closed' before the test was opened */
export function splitOf({ task, dataset }: TaskData, split: Split): readonly Example[] {
  if (split === 'validation') return dataset.validation;
  if (task.testOpenedAt !== undefined) return dataset.test;
  throw new AppError('test/closed', `The ${dataset.test.length} test rows are closed.`, {
    why: 'They are looked at once, after everything was chosen on the validation rows; else they would be one more set to choose on.',
    fix: 'Open the test on the Task screen when you are done choosing.',
  });
}

/** Tokens at which replies are cut under a prompt: what the person chose, or 1.5 times the longest training answer; 256 more under a step-by-step cue. */
export function longestAnswerOf({ task, dataset }: TaskData, renderer: PromptRenderer, prompt: Pick<Prompt, 'cue'>): number {
  if (task.longestAnswer === undefined) return proposedLongest(renderer, dataset.train, prompt);
  return task.longestAnswer + (prompt.cue.trim() === '' ? 0 : STEP_TOKENS);
}

/** A prompt as it counts for these rows: how an answer is taken out of a step-by-step reply follows the training answers there are now, also where the
 *  prompt was saved before they changed or came from another task. */
export function promptFor({ dataset }: Pick<TaskData, 'dataset'>, prompt: Prompt): Prompt {
  return prompt.cue.trim() === '' ? prompt : withCue(prompt, prompt.cue, dataset.train);
}

/** Tokens of a row that training may use. */
export function rowLimitOf(task: TaskRecord, context: number): number {
  return Math.min(task.rowLimit ?? context, context);
}
