import { engine } from '../../client/engine-client.ts';
import { type AppError, asAppError } from '../../lib/error.ts';
import type { Progress } from '../../rpc/contract.ts';
import {
  type ChatSetup,
  forgetTurns,
  type KeptTurns,
  onConversation,
  readConversation,
  saveSetup,
  takeUpCut,
  unlessAnswering,
  whileAnswering,
} from '../../storage/conversations.ts';
import { listContestants } from '../../storage/customizations.ts';
import type { ContestantRecord } from '../../storage/types.ts';
import type { Message } from '../../text/types.ts';
import { Answer, Column, conversation, Keeping, type Turn, turnOf } from './chat-parts.svelte.ts';
import { job } from './job.svelte.ts';
import { live } from './live.svelte.ts';
import { models } from './models.svelte.ts';
import { runtimes } from './runtimes.svelte.ts';
import { tasks } from './tasks.svelte.ts';

export const MOST_COLUMNS = 4;
const usual: ChatSetup['sampling'] = { seed: 7, temperature: 0.7, topK: 0, topP: 1, maxTokens: 200 };

/** One conversation of a task, held with several contestants at once: the same words and the same seed in every column. It is kept on this device. */
class ChatState {
  contestants = $state.raw<readonly ContestantRecord[]>([]);
  columns = $state.raw<readonly Column[]>([]);
  turns = $state.raw<readonly Turn[]>([]);
  /** So many older turns are not kept any more. */
  dropped = $state(0);
  /** What is kept of the conversation has been read. */
  ready = $state(false);
  seed = $state(usual.seed);
  temperature = $state(usual.temperature);
  topK = $state(usual.topK);
  topP = $state(usual.topP);
  maxTokens = $state(usual.maxTokens);
  error = $state.raw<AppError | undefined>();
  /** Not yet in a column. */
  others = $derived(this.contestants.filter((c) => !this.columns.some((column) => column.contestant?.id === c.id)));
  #taskId: string | undefined;
  #openedOnce = (): void => {};
  #opening: Promise<void> = new Promise((resolve) => {
    this.#openedOnce = resolve;
  });
  /** The columns are a person's choice, not those that a conversation begins with. */
  #chosen = false;
  /** Sampling was set before what is kept of it had been read. */
  #touched = false;
  #asking = 0;
  /** Another tab changed the conversation while this one answered; or the disk has not got what stands here. */
  #stale = false;
  #unsaved = false;

  /** Reads the task's contestants and what was said; a conversation begins with Base and the newest other one. */
  open(taskId: string | undefined): Promise<void> {
    const opening = this.#open(taskId);
    this.#opening = opening.catch(() => undefined);
    void this.#opening.then(this.#openedOnce);
    return opening;
  }
  /** Reads again when another tab changed something. Returns the function that stops it. */
  follow(taskId: string | undefined): () => void {
    return onConversation(() => {
      if (this.#asking > 0) this.#stale = true;
      else void this.open(taskId).catch((cause: unknown) => live.fail(cause));
    });
  }
  async #open(taskId: string | undefined): Promise<void> {
    const first = taskId !== this.#taskId || !this.ready;
    if (first) {
      this.#taskId = taskId;
      this.#chosen = false;
      this.#unsaved = false;
      this.ready = false;
      this.columns = [];
      this.turns = [];
      this.dropped = 0;
      this.error = undefined;
      if (!this.#touched) this.#setSampling(usual);
      const looked = await unlessAnswering(taskId, async () => {
        await takeUpCut(taskId);
        return true;
      });
      // Another tab answers, or the page before this one is not quite gone: what it leaves is taken up when it is.
      if (looked === undefined) void this.#takeUpLater(taskId).catch((cause: unknown) => live.fail(cause));
    }
    const [list, kept] = await Promise.all([taskId === undefined ? [] : listContestants(taskId), readConversation(taskId)]);
    if (taskId !== this.#taskId) return;
    this.contestants = list.toSorted((a, b) => a.createdAt - b.createdAt);
    if (!this.#unsaved && (first || this.#asking === 0)) this.#take(kept, kept.setup);
    for (const column of this.columns) column.follow(this.contestants);
    const usualOnes = this.#usualColumns();
    // Before anything was said or chosen it begins with what is there now.
    const fresh = !this.#chosen && this.turns.length === 0 && (first || this.#asking === 0);
    if (fresh && idsOf(usualOnes) !== idsOf(this.columns)) this.columns = usualOnes;
    else if (this.columns.every((column) => column.gone)) this.columns = [...this.columns, ...usualOnes].slice(-MOST_COLUMNS);
    this.ready = true;
    if (this.#touched) this.keep(false);
    this.#touched = false;
  }
  async #takeUpLater(taskId: string | undefined): Promise<void> {
    const cut = await whileAnswering(taskId, () => takeUpCut(taskId));
    if (cut && taskId === this.#taskId) await this.open(taskId);
  }
  #usualColumns(): Column[] {
    const base = this.contestants.find((c) => c.method === 'base');
    const newest = this.contestants.findLast((c) => c.method !== 'base');
    return newest === undefined ? [new Column(base)] : [new Column(base), new Column(newest)];
  }
  #take({ turns, dropped }: KeptTurns, setup?: ChatSetup): void {
    const known = new Map(this.turns.map((turn) => [turn.id, turn]));
    this.turns = turns.map((turn) => known.get(turn.id) ?? turnOf(turn));
    this.dropped = dropped;
    if (setup === undefined) return;
    if (!this.#touched) this.#setSampling(setup.sampling);
    this.#chosen = setup.chosen;
    if (setup.columns.length === 0) return;
    this.columns = setup.columns.map((kept) => {
      const column = this.columns.find(({ id }) => id === kept.id) ?? new Column(undefined, kept);
      column.set(kept);
      column.follow(this.contestants);
      return column;
    });
  }
  #setSampling({ seed, temperature, topK, topP, maxTokens }: ChatSetup['sampling']): void {
    Object.assign(this, { seed, temperature, topK, topP, maxTokens });
  }
  /** A field that was emptied counts as its usual value. */
  #sampling(): ChatSetup['sampling'] {
    const { seed, temperature, topK, topP, maxTokens } = this;
    const given = Object.entries({ seed, temperature, topK, topP, maxTokens }).filter(([, value]) => Number.isFinite(value));
    return { ...usual, ...Object.fromEntries(given) };
  }
  #setup(): ChatSetup {
    const columns = this.#chosen || this.turns.length > 0 ? this.columns.map((column) => column.kept()) : [];
    return { columns, chosen: this.#chosen, sampling: this.#sampling() };
  }
  /** Keeps who is asked and how, as a person sets it. */
  keep(chosen = true): void {
    this.#chosen ||= chosen;
    if (!this.ready) this.#touched = true;
    else saveSetup(this.#taskId, this.#setup()).catch((cause: unknown) => live.fail(cause));
  }
  add(contestant: ContestantRecord): void {
    this.columns = [...this.columns, new Column(contestant)];
    this.keep();
  }
  remove(column: Column): void {
    this.columns = this.columns.filter((c) => c !== column);
    this.keep();
  }
  forget(): void {
    this.turns = [];
    this.dropped = 0;
    this.error = undefined;
    const left = this.columns.filter((column) => !column.gone);
    this.columns = this.#chosen && left.length > 0 ? left : this.#usualColumns();
    forgetTurns(this.#taskId, this.#setup()).then(
      () => {
        this.#unsaved = false;
      },
      (cause: unknown) => live.fail(cause),
    );
  }

  /**
   * Asks every column, one after the other. Stop ends the reply that is being written and leaves the others unasked. Resolves with false where the
   * question has not become part of the conversation.
   */
  async ask(question: string): Promise<boolean> {
    this.error = undefined;
    this.#asking++;
    try {
      // A question can be sent before the columns are read.
      await this.#opening;
      const taskId = this.#taskId;
      return await whileAnswering(taskId, () => this.#ask(taskId, question));
    } finally {
      this.#asking--;
    }
  }
  async #ask(taskId: string | undefined, question: string): Promise<boolean> {
    if (this.#stale) {
      this.#stale = false;
      const kept = await readConversation(taskId);
      this.#take(kept, kept.setup);
    }
    const asked = this.columns.filter((column) => !column.gone);
    const modelId = asked.find((c) => c.contestant !== undefined)?.contestant?.modelId ?? tasks.current?.modelId ?? models.status?.modelId;
    if (taskId !== this.#taskId) return false;
    const earlier = this.turns;
    const answers = new Map(asked.map((column) => [column.id, new Answer()]));
    const turn: Turn = { id: crypto.randomUUID(), askedAt: Date.now(), question, answers };
    let begun = false;
    const keeping = new Keeping(taskId, turn);
    // One runtime after the other: both need not have room on the GPU at once.
    for (const runtime of ['engine', 'webllm'] as const) {
      const columns = asked.filter((column) => column.runtime === runtime);
      if (columns.length === 0) continue;
      try {
        if (modelId !== undefined && !(await runtimes.useIn(runtime, modelId))) break;
        if (!begun) {
          if (taskId !== this.#taskId) return false;
          begun = true;
          this.turns = [...earlier, turn];
          this.keep(false);
          keeping.begin();
        }
        const name = columns.length === 1 ? (columns[0]?.name ?? 'Base') : `${columns.length} contestants`;
        const stopped = await job.run({ kind: 'answering', name, href: '#/chat', stopLabel: 'Stop' }, async (signal, onProgress) => {
          for (const column of columns) {
            const answer = answers.get(column.id);
            if (answer === undefined || signal.aborted) continue;
            await this.#answer(column, answer, conversation(earlier, column, question), signal, onProgress, keeping);
          }
          for (const column of columns) {
            const reply = answers.get(column.id)?.reply;
            if (reply !== undefined && !signal.aborted) await column.measureDifference(reply.runtime, signal);
          }
          return signal.aborted;
        });
        if (runtime === 'webllm') await runtimes.refresh();
        if (stopped !== false) break;
      } catch (cause) {
        this.error = asAppError(cause);
        break;
      }
    }
    for (const answer of answers.values()) if (answer.state === 'waiting') answer.state = 'unasked';
    if (begun) await this.#end(taskId, keeping);
    return begun;
  }
  /** The turn joins the others on the disk. Where that fails the page keeps what it has. */
  async #end(taskId: string | undefined, keeping: Keeping): Promise<void> {
    try {
      const kept = await keeping.end();
      if (taskId !== this.#taskId || kept === undefined) return;
      this.#unsaved = false;
      this.#stale = false;
      this.#take(kept);
      // Another tab may have begun anew meanwhile: what is kept names the columns of this turn.
      this.keep(false);
    } catch (cause) {
      this.#unsaved = taskId === this.#taskId;
      live.fail(cause);
    }
  }
  async #answer(
    column: Column,
    answer: Answer,
    messages: readonly Message[],
    signal: AbortSignal,
    onProgress: (p: Progress) => void,
    keeping: Keeping,
  ): Promise<void> {
    answer.state = 'writing';
    try {
      answer.reply = await engine().chat(
        {
          ...(column.contestant === undefined ? {} : { contestantId: column.contestant.id }),
          messages,
          runtime: column.runtime,
          strength: column.strength,
          ...this.#sampling(),
        },
        (piece) => {
          if (signal.aborted) return;
          answer.text += piece;
          keeping.soon();
        },
        signal,
        onProgress,
      );
      answer.state = 'done';
    } catch (cause) {
      answer.error = asAppError(cause);
      answer.state = 'failed';
    }
    await keeping.now('strict');
  }
}

const idsOf = (columns: readonly Column[]) => columns.map(({ contestant }) => contestant?.id ?? 'base').join(' ');

export const chat = new ChatState();
