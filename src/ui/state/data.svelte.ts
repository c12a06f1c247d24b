import { engine } from '../../client/engine-client.ts';
import type { ColumnRole, Example } from '../../data/types.ts';
import { AppError, asAppError } from '../../lib/error.ts';
import type { DataReport, DataRow } from '../../rpc/contract.ts';
import { onChange } from '../../storage/changes.ts';
import { changeRows, readDataset, saveRows, withoutTable } from '../../storage/tasks.ts';
import type { DatasetRecord } from '../../storage/types.ts';
import { coalesced } from '../coalesced.ts';
import { putBack } from '../put-back.ts';
import { withRole } from '../roles.ts';
import { tasks } from './tasks.svelte.ts';

export interface ShownRow {
  readonly id: string;
  readonly number: number;
  readonly example: Example;
  readonly row: DataRow | undefined;
  /** The last message before the answer. */
  readonly input: string;
  readonly answer: string;
  /** All of it, to search in. */
  readonly text: string;
}

/** The rows of the task that is shown, and what the engine says about them. */
class DataState {
  dataset = $state.raw<DatasetRecord | undefined>();
  report = $state.raw<DataReport | undefined>();
  error = $state.raw<AppError | undefined>();
  /** The row that the preview shows and the table marks. */
  currentId = $state.raw<string | undefined>();
  rows = $derived(this.#shown());
  current = $derived(
    this.rows.find((row) => row.id === this.currentId) ?? this.rows.find((row) => row.row?.split === 'train') ?? this.rows[0],
  );
  #taskId: string | undefined;

  /** Reads the task's rows now and after every change of them. For an `$effect`: returns what stops it. */
  follow(taskId: string | undefined): () => void {
    if (taskId !== this.#taskId) {
      this.#taskId = taskId;
      this.dataset = undefined;
      this.report = undefined;
      this.currentId = undefined;
    }
    if (taskId === undefined) return () => undefined;
    void this.refresh();
    return onChange(({ store, key }) => {
      if (store === 'all' || ((store === 'datasets' || store === 'tasks') && key === taskId)) void this.refresh();
    });
  }
  /** Reads again; never rejects. Resolves when what was read began after the call. */
  refresh = coalesced(() => this.#read());
  async #read(): Promise<void> {
    const taskId = this.#taskId;
    if (taskId === undefined) return;
    const left = () => taskId !== this.#taskId;
    try {
      const dataset = await readDataset(taskId);
      if (left()) return;
      this.dataset = dataset;
      const report = dataset.rows.length === 0 ? undefined : await engine().dataReport(taskId);
      if (left()) return;
      this.report = report;
      this.error = undefined;
    } catch (error) {
      if (!left()) this.error = asAppError(error);
    }
  }
  show(rowId: string): void {
    this.currentId = rowId;
  }
  find(query: string, most: number): readonly ShownRow[] {
    const needle = query.trim().toLowerCase();
    if (needle === '') return [];
    const found: ShownRow[] = [];
    for (const row of this.rows) {
      if (row.text.toLowerCase().includes(needle)) found.push(row);
      if (found.length === most) break;
    }
    return found;
  }

  /** Adds rows to those of the task, or puts them in their place; without a task, makes one that fits them. */
  async add(
    rows: readonly Example[],
    source: DatasetRecord['source'],
    name: string,
    replace: boolean,
    modelId: string | undefined,
  ): Promise<void> {
    const task = tasks.current;
    if (task === undefined) {
      const { type, metricId, shares } = await engine().propose(rows);
      await tasks.create({
        name,
        type,
        metricId,
        shares,
        seed: 7,
        rows,
        ...(modelId === undefined ? {} : { modelId }),
        ...(source === undefined ? {} : { source }),
      });
      return;
    }
    let first = true;
    const added = (there: readonly Example[]): readonly Example[] => {
      const before = replace ? [] : there;
      first = before.length === 0;
      return [...before, ...withFreshIds(rows, before)];
    };
    await changeRows(task.id, added, (there) => (replace || there.length === 0 ? source : withoutTable(source)));
    if (first) {
      const { type, metricId, shares } = await engine().propose(rows);
      await tasks.change(task.id, (t) => ({
        ...t,
        type,
        metricId,
        shares,
        ...(t.modelId === undefined && modelId !== undefined ? { modelId } : {}),
      }));
    }
    await this.refresh();
  }
  /** Saves one row of a task: in the place of the row with its id, or at the end. @throws 'task/missing' */
  async put(example: Example, taskId = this.#taskId): Promise<void> {
    if (taskId === undefined) return;
    await changeRows(taskId, (rows) =>
      rows.some((row) => row.id === example.id) ? rows.map((row) => (row.id === example.id ? example : row)) : [...rows, example],
    );
    await this.refresh();
    if (taskId === this.#taskId) this.show(example.id);
  }
  /** Takes rows out. Resolves with what puts them back, each where it was among the rows that are there by then. */
  async remove(ids: readonly string[]): Promise<() => Promise<void>> {
    const taskId = this.#taskId;
    if (taskId === undefined) return async () => undefined;
    const gone = new Set(ids);
    let before: readonly Example[] = [];
    await changeRows(taskId, (rows) => {
      before = rows;
      return rows.filter((row) => !gone.has(row.id));
    });
    await this.refresh();
    return async () => {
      await changeRows(taskId, (rows) => putBack(before, gone, rows));
      await this.refresh();
    };
  }
  /** Gives a column of the table that the rows are another role, and makes the rows of it anew. Resolves with what takes it back. */
  async setRole(column: number, role: ColumnRole): Promise<() => Promise<void>> {
    const taskId = this.#taskId;
    const before = taskId === undefined ? undefined : await readDataset(taskId);
    const { table, roles: given } = before?.source ?? {};
    if (taskId === undefined || before?.source === undefined || table === undefined || given === undefined) return () => Promise.resolve();
    const roles = withRole(given, column, role);
    const { examples } = await engine().mapColumns(table, roles);
    const leftOut = Math.max(0, before.source.read - examples.length);
    const made = await saveRows(taskId, examples, { ...before.source, roles, leftOut });
    await this.refresh();
    return async () => {
      if ((await readDataset(taskId)).version !== made.version) throw changedSince();
      await saveRows(taskId, before.rows, before.source);
      await this.refresh();
    };
  }

  #shown(): readonly ShownRow[] {
    const reported = new Map(this.report?.rows.map((row) => [row.id, row]));
    return (this.dataset?.rows ?? []).map((example, i) => {
      const row = reported.get(example.id);
      const messages = example.messages.map((message) => message.content);
      return {
        id: example.id,
        number: row?.number ?? i + 1,
        example,
        row,
        input: messages.at(-1) ?? '',
        answer: example.targets[0] ?? '',
        text: [...messages, ...example.targets].join('\n'),
      };
    });
  }
}

function changedSince(): AppError {
  return new AppError('data/changed-since', 'Rows were changed after their columns got other roles. Nothing was undone.', {
    why: 'Taking the roles back makes all rows as they were before, and what was changed since would be lost.',
    fix: 'Import the table again to have its columns in other roles.',
  });
}

/** Rows of two files may carry the same ids; a row that would take another's place gets a new one. */
function withFreshIds(rows: readonly Example[], before: readonly Example[]): readonly Example[] {
  const taken = new Set(before.map((row) => row.id));
  return rows.map((row) => {
    const fresh = taken.has(row.id) ? { ...row, id: crypto.randomUUID() } : row;
    taken.add(fresh.id);
    return fresh;
  });
}

export const data = new DataState();
