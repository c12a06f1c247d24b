// Tasks and their rows. Rows stand apart, so that renaming a task does not rewrite them.
import type { Example, SplitShares, Task } from '../data/types.ts';
import { AppError } from '../lib/error.ts';
import { notify } from './changes.ts';
import { restore } from './restore.ts';
import { readAll, readOne, writing } from './schema.ts';
import type { DatasetRecord, TaskRecord } from './types.ts';

/** Newest first. */
export async function listTasks(): Promise<TaskRecord[]> {
  return (await readAll('tasks')).sort((a, b) => b.updatedAt - a.updatedAt);
}
export function readTask(id: string): Promise<TaskRecord | undefined> {
  return readOne('tasks', id);
}
/** @throws 'task/missing' */
export async function needTask(id: string): Promise<TaskRecord> {
  const task = await readTask(id);
  if (task === undefined) throw missingTask(id);
  return task;
}
export function missingTask(id: string): AppError {
  return new AppError('task/missing', 'This task is not on this device any more.', {
    why: 'It was deleted, perhaps in another tab.',
    fix: 'Choose another task, or make a new one.',
    facts: { taskId: id },
  });
}

/** The rows of a task; a task without rows has none, at version 0. */
export async function readDataset(taskId: string): Promise<DatasetRecord> {
  return (await readOne('datasets', taskId)) ?? { taskId, version: 0, rows: [] };
}

export interface NewTask {
  readonly name: string;
  readonly type: Task;
  readonly metricId: string;
  readonly seed: number;
  readonly shares: SplitShares;
  readonly modelId?: string;
  readonly sampleId?: string;
  readonly rows: readonly Example[];
  readonly source?: NonNullable<DatasetRecord['source']>;
}
/** A task with its rows, in one write. @throws 'storage/full' */
export async function createTask(made: NewTask): Promise<TaskRecord> {
  const { rows, source, ...rest } = made;
  const now = Date.now();
  const task: TaskRecord = { ...rest, id: crypto.randomUUID(), createdAt: now, updatedAt: now };
  const dataset: DatasetRecord = { taskId: task.id, version: 1, rows, ...(source === undefined ? {} : { source }) };
  await writing(['tasks', 'datasets'], (tx) => Promise.all([tx.objectStore('tasks').put(task), tx.objectStore('datasets').put(dataset)]));
  notify('tasks', task.id);
  notify('datasets', task.id);
  return task;
}

/** Changes a task as it is on the disk now, so that two tabs do not undo each other. @throws 'task/missing' */
export async function updateTask(id: string, change: (task: TaskRecord) => TaskRecord): Promise<TaskRecord> {
  const changed = await writing(['tasks'], async (tx) => {
    const found = restore('tasks', await tx.objectStore('tasks').get(id));
    if (found === undefined) throw missingTask(id);
    const next = { ...change(found), id, updatedAt: Date.now() };
    await tx.objectStore('tasks').put(next);
    return next;
  });
  notify('tasks', id);
  return changed;
}
export function renameTask(id: string, name: string): Promise<TaskRecord> {
  return updateTask(id, (task) => ({ ...task, name }));
}

/**
 * Changes the rows as they are on the disk now, so that two changes in a row do not undo each other: the version goes up, and results of the old rows are
 * stale from now on. `sourceOf` says where they come from; without it they are changed by hand, and no table's any more. @throws 'task/missing'
 */
export async function changeRows(
  taskId: string,
  change: (rows: readonly Example[]) => readonly Example[],
  sourceOf: (rows: readonly Example[]) => DatasetRecord['source'] = () => undefined,
): Promise<DatasetRecord> {
  const saved = await writing(['tasks', 'datasets'], async (tx) => {
    if ((await tx.objectStore('tasks').getKey(taskId)) === undefined) throw missingTask(taskId);
    const store = tx.objectStore('datasets');
    const before = restore('datasets', (await store.get(taskId)) ?? { taskId, version: 0, rows: [] });
    const there = before?.rows ?? [];
    const from = sourceOf(there) ?? withoutTable(before?.source);
    const rows = change(there);
    const next: DatasetRecord = { taskId, version: (before?.version ?? 0) + 1, rows, ...(from === undefined ? {} : { source: from }) };
    await store.put(next);
    return next;
  });
  notify('datasets', taskId);
  return saved;
}

/** These rows in place of those that are there. @throws 'task/missing' */
export function saveRows(taskId: string, rows: readonly Example[], source?: DatasetRecord['source']): Promise<DatasetRecord> {
  return changeRows(
    taskId,
    () => rows,
    () => source,
  );
}

/** Where rows come from that are no longer all of a table and nothing else. */
export function withoutTable(source: DatasetRecord['source']): DatasetRecord['source'] {
  if (source === undefined) return undefined;
  const { table: _, ...rest } = source;
  return rest;
}

/** The task, its rows, contestants, results, runs and drafts, in one write. Adapters' bytes go with `freeUnreferenced`. */
export async function deleteTask(id: string): Promise<void> {
  await writing(['tasks', 'datasets', 'contestants', 'results', 'runs', 'adapters', 'settings'], async (tx) => {
    const contestants = tx.objectStore('contestants');
    const adapters = tx.objectStore('adapters');
    for (const value of await contestants.index('taskId').getAll(id)) {
      const contestant = restore('contestants', value);
      if (contestant === undefined) continue;
      await contestants.delete(contestant.id);
      if (contestant.adapterId !== undefined) await adapters.delete(contestant.adapterId);
    }
    for (const key of await tx.objectStore('results').index('taskId').getAllKeys(id)) await tx.objectStore('results').delete(key);
    for (const key of await tx.objectStore('runs').index('taskId').getAllKeys(id)) await tx.objectStore('runs').delete(key);
    // What is kept for a task alone, such as the draft of a prompt, has its id behind its name.
    for (const key of await tx.objectStore('settings').getAllKeys())
      if (key.endsWith(` ${id}`)) await tx.objectStore('settings').delete(key);
    await tx.objectStore('datasets').delete(id);
    await tx.objectStore('tasks').delete(id);
  });
  for (const store of ['tasks', 'datasets', 'contestants', 'results', 'runs', 'adapters'] as const) notify(store, id);
}
