import { engine } from '../../client/engine-client.ts';
import type { Board, BoardRow, ExampleComparison, Paired, Runtime, Split } from '../../experiments/types.ts';
import { type AppError, asAppError } from '../../lib/error.ts';
import { onChange } from '../../storage/changes.ts';
import { coalesced } from '../coalesced.ts';
import { job } from './job.svelte.ts';
import { live } from './live.svelte.ts';
import { models } from './models.svelte.ts';
import { runtimes } from './runtimes.svelte.ts';
import { tasks } from './tasks.svelte.ts';

export interface Comparison {
  readonly contestantId: string;
  readonly againstId: string;
  readonly paired: Paired;
  readonly examples: readonly ExampleComparison[];
}
export type SortKey = 'score' | 'extra' | 'ships' | 'time' | 'speed';

/** The board of the task that is shown: its rows, the one that is open, and what runs on it. */
class BoardState {
  board = $state.raw<Board | undefined>();
  split = $state<Split>('validation');
  error = $state.raw<AppError | undefined>();
  openedId = $state.raw<string | undefined>();
  againstId = $state.raw<string | undefined>();
  comparison = $state.raw<Comparison | undefined>();
  sort = $state<SortKey>('score');
  /** Whose scores are shown where both have answered, and what answers the rows that are measured next. */
  runtime = $state<Runtime>('engine');
  /** Asked of web-llm and answered by our engine, and why. */
  inOurs = $state.raw<readonly { readonly name: string; readonly code: string; readonly text: string }[]>([]);
  base = $derived(this.board?.rows.find((row) => row.method === 'base'));
  /** Contestants whose score is missing, stale or half done. */
  missing = $derived((this.board?.rows ?? []).filter((row) => row.state === 'none' || row.state === 'stale' || row.state === 'partial'));
  #taskId: string | undefined;
  /** What went wrong was the reading: another reading that goes well takes it away. What a measurement ended with stays until it is read. */
  #unread = false;
  #making = false;

  /** Reads the board now and after every change of what it is made of. For an `$effect`: returns what stops it. */
  follow(taskId: string | undefined, split: Split): () => void {
    if (taskId !== this.#taskId) {
      this.board = undefined;
      this.close();
      this.split = 'validation';
      this.runtime = 'engine';
      this.inOurs = [];
      this.error = undefined;
    } else this.split = split;
    this.#taskId = taskId;
    if (taskId === undefined) return () => undefined;
    void this.refresh();
    return onChange(({ store }) => {
      if (store !== 'models' && store !== 'settings') void this.refresh();
    });
  }
  /** Takes what went wrong as read, and reads again. */
  async readAgain(): Promise<void> {
    this.error = undefined;
    await this.refresh();
  }
  /** Reads again; never rejects. While rows are scored changes come many a second: they cost one reading at a time. */
  refresh = coalesced(() => this.#read());
  async #read(): Promise<void> {
    const taskId = this.#taskId;
    if (taskId === undefined) return;
    const { split, runtime } = this;
    const left = () => taskId !== this.#taskId || split !== this.split || runtime !== this.runtime;
    try {
      const board = await engine().board(taskId, split, runtime);
      if (left()) return;
      this.board = board;
      if (this.#unread) this.error = undefined;
      this.#unread = false;
      if (this.openedId !== undefined) await this.#compare();
    } catch (error) {
      if (left()) return;
      this.#unread = true;
      this.error = asAppError(error);
    }
  }

  open(contestantId: string): void {
    this.openedId = contestantId;
    this.comparison = undefined;
    const base = this.base?.contestantId;
    this.againstId =
      base !== undefined && base !== contestantId
        ? base
        : this.board?.rows.find((row) => row.contestantId !== contestantId && row.score !== undefined)?.contestantId;
    this.#compareNow();
  }
  compareWith(againstId: string): void {
    this.againstId = againstId;
    this.#compareNow();
  }
  #compareNow(): void {
    void this.#compare().catch((error: unknown) => {
      this.#unread = true;
      this.error = asAppError(error);
    });
  }
  close(): void {
    this.openedId = undefined;
    this.comparison = undefined;
  }
  async #compare(): Promise<void> {
    const contestantId = this.openedId;
    // Deleted meanwhile, in another tab perhaps.
    if (this.board?.rows.some((r) => r.contestantId === this.againstId) === false) this.againstId = this.base?.contestantId;
    const againstId = this.againstId ?? contestantId;
    if (contestantId === undefined || againstId === undefined) return;
    const row = this.board?.rows.find((r) => r.contestantId === contestantId);
    if (row?.score === undefined) return;
    const made = await engine().compare(contestantId, againstId, this.split, this.runtime);
    if (this.openedId === contestantId && (this.againstId ?? contestantId) === againstId)
      this.comparison = { contestantId, againstId, ...made };
  }

  /** Shows the scores of this runtime's answers, and has it answer what is measured next. */
  answerBy(runtime: Runtime): Promise<void> {
    this.runtime = runtime;
    return this.refresh();
  }
  /**
   * Measures these contestants of a task on the split that is shown: loads the task's model first where it is not there. What is shown when it was asked for
   * counts, whatever is opened while the model is loaded. What this runtime scored is shown from then on.
   */
  async measure(
    rows: readonly Pick<BoardRow, 'contestantId' | 'name' | 'mark'>[],
    runtime = this.runtime,
    task = tasks.current,
  ): Promise<void> {
    const { split } = this;
    const first = rows[0];
    if (task === undefined || first === undefined) return;
    this.error = undefined;
    this.inOurs = [];
    try {
      if (task.modelId !== undefined && !(await runtimes.useIn(runtime, task.modelId))) return;
      if (tasks.current?.id === task.id) this.runtime = runtime;
      const inOurs = await job.run(
        {
          kind: 'measuring',
          name: rows.length === 1 ? first.name : `${rows.length} contestants`,
          mark: first.mark,
          href: '#/',
          taskId: task.id,
          stopLabel: 'Stop and keep what is done',
        },
        (signal, onProgress) =>
          engine().measure(
            rows.map((row) => row.contestantId),
            split,
            onProgress,
            signal,
            runtime,
          ),
      );
      if (this.#taskId === task.id) {
        this.inOurs = (inOurs ?? []).map(({ contestantId, ...why }) => ({
          ...why,
          name: rows.find((row) => row.contestantId === contestantId)?.name ?? '',
        }));
      }
    } catch (error) {
      this.fail(error, task.id);
    }
    if (runtime === 'webllm') await runtimes.refresh();
    await this.refresh();
  }
  /** Makes Base where it is not there, and measures it. */
  async measureBase(): Promise<void> {
    const task = tasks.current;
    // Pressed twice, it is still one wish.
    if (task === undefined || this.#making) return;
    const { runtime } = this;
    this.#making = true;
    this.error = undefined;
    try {
      if (task.modelId !== undefined && runtime === 'engine' && !(await models.use(task.modelId))) return;
      const base = await engine().ensureBase(task.id);
      await this.refresh();
      await this.measure([{ contestantId: base.id, name: base.name, mark: 'base' }], runtime, task);
    } catch (error) {
      this.fail(error, task.id);
    } finally {
      this.#making = false;
    }
  }
  /** What was asked for in a task did not go well. A lost GPU is said once, for the whole page, and so is what befell a task that is not shown. */
  fail(error: unknown, taskId: string): void {
    const what = asAppError(error);
    if (what.code === 'gpu/lost' && live.error?.code === what.code) return;
    if (tasks.current?.id !== taskId) {
      live.fail(what);
      return;
    }
    this.#unread = false;
    this.error = what;
  }
  async openTest(): Promise<void> {
    const task = tasks.current;
    if (task === undefined) return;
    await engine().openTest(task.id);
    await tasks.refresh();
    if (tasks.current?.id !== task.id) return;
    this.split = 'test';
    await this.refresh();
  }
}

export const board = new BoardState();
