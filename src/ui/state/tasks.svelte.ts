import type { Example } from '../../data/types.ts';
import { AppError } from '../../lib/error.ts';
import { freeUnreferenced } from '../../storage/blobs.ts';
import { onChange } from '../../storage/changes.ts';
import { readSetting, saveSetting } from '../../storage/settings.ts';
import { createTask, deleteTask, listTasks, type NewTask, renameTask, updateTask } from '../../storage/tasks.ts';
import type { TaskRecord } from '../../storage/types.ts';
import { askToKeep } from '../../storage/usage.ts';
import { elsewhere } from './elsewhere.svelte.ts';
import { job, VERBS } from './job.svelte.ts';
import { live } from './live.svelte.ts';

const CURRENT = 'current-task';

/** The tasks on this device and which of them the screens show. */
class TasksState {
  list = $state.raw<readonly TaskRecord[]>([]);
  currentId = $state.raw<string | undefined>();
  /** False until the device has been read: before that, nothing is known to be missing. */
  ready = $state(false);
  current = $derived(this.list.find((task) => task.id === this.currentId) ?? this.list[0]);

  async start(): Promise<void> {
    const chosen = await readSetting(CURRENT);
    if (typeof chosen === 'string') this.currentId = chosen;
    onChange(({ store }) => {
      if (store === 'tasks' || store === 'all') void this.refresh().catch((error: unknown) => live.fail(error));
    });
    await this.refresh();
    this.ready = true;
  }
  async refresh(): Promise<void> {
    const list = await listTasks();
    // By age, not by the last change: a list that reorders under the pointer is hard to use.
    this.list = list.sort((a, b) => b.createdAt - a.createdAt);
  }
  async select(id: string): Promise<void> {
    this.currentId = id;
    await saveSetting(CURRENT, id);
  }
  /** Makes a task and shows it. */
  async create(made: NewTask): Promise<TaskRecord> {
    const task = await createTask(made);
    await this.refresh();
    await this.select(task.id);
    // The first thing worth keeping: now the browser may be asked not to clear it by itself.
    void askToKeep().catch(() => false);
    return task;
  }
  /** An empty task, ready for its first rows. */
  createEmpty(name: string, rows: readonly Example[] = []): Promise<TaskRecord> {
    return this.create({ name, type: 'other', metricId: 'exact-match', seed: 7, shares: { train: 0.6, validation: 0.2, test: 0.2 }, rows });
  }
  async rename(id: string, name: string): Promise<void> {
    await renameTask(id, name);
    await this.refresh();
  }
  async change(id: string, change: (task: TaskRecord) => TaskRecord): Promise<void> {
    await updateTask(id, change);
    await this.refresh();
  }
  /** Deletes a task with all that was made of it; resolves with the bytes of files freed. @throws 'engine/busy' while something is made of it */
  async remove(id: string): Promise<number> {
    const busy = [job.current, elsewhere.job?.spec].find((spec) => spec?.taskId === id);
    if (busy !== undefined) {
      throw new AppError('engine/busy', `${VERBS[busy.kind]} ${busy.name} goes on in this task. Nothing was deleted.`, {
        why: 'What is being made would be left over, without the task it belongs to.',
        fix: 'Stop it first, or wait until it is done.',
      });
    }
    await deleteTask(id);
    const freed = await freeUnreferenced();
    await this.refresh();
    return freed;
  }
}

export const tasks = new TasksState();
