import { engine } from '../../client/engine-client.ts';
import type { Runtime } from '../../experiments/types.ts';
import { type AppError, asAppError } from '../../lib/error.ts';
import type { ChatReply, HeldDifference, Progress } from '../../rpc/contract.ts';
import { listContestants } from '../../storage/customizations.ts';
import type { ContestantRecord } from '../../storage/types.ts';
import type { Message } from '../../text/types.ts';
import { board } from './board.svelte.ts';
import { job } from './job.svelte.ts';
import { models } from './models.svelte.ts';
import { runtimes } from './runtimes.svelte.ts';
import { tasks } from './tasks.svelte.ts';

/** What one column answered in one turn. */
export class Answer {
  text = $state('');
  state = $state<'waiting' | 'writing' | 'done' | 'failed'>('waiting');
  reply = $state.raw<ChatReply | undefined>();
  error = $state.raw<AppError | undefined>();
}
export interface Turn {
  readonly question: string;
  /** By column id. */
  readonly answers: ReadonlyMap<string, Answer>;
}
/** A contestant one talks to; without one, the model as it came. */
export class Column {
  readonly id = crypto.randomUUID();
  runtime = $state<Runtime>('engine');
  contestant = $state.raw<ContestantRecord | undefined>();
  strength = $state(1);
  /** What it changes that the base is held otherwise than while this was trained; measured after its first answer. */
  difference = $state.raw<HeldDifference | undefined>();
  #measuredOn: string | undefined;
  constructor(contestant: ContestantRecord | undefined) {
    this.contestant = contestant;
  }
  name = $derived(this.contestant?.name ?? 'Base');
  /** As on the board, which tells a system prompt, shots and steps apart. */
  mark = $derived(board.board?.rows.find((row) => row.contestantId === this.contestant?.id)?.mark ?? this.contestant?.method ?? 'base');

  /** Once for each way of holding the base. `runtime` is what answered: web-llm, or our engine where it was asked for in vain. */
  async measureDifference(runtime: Runtime, signal: AbortSignal): Promise<void> {
    const { contestant } = this;
    const held = runtime === 'webllm' ? runtime : models.status?.storage;
    if (contestant?.adapterId === undefined || held === undefined || this.#measuredOn === held) return;
    this.difference = await engine().heldDifference(contestant.id, signal, runtime);
    if (!signal.aborted) this.#measuredOn = held;
  }
}

/** One conversation held with several contestants at once: the same words and the same seed in every column. */
class ChatState {
  contestants = $state.raw<readonly ContestantRecord[]>([]);
  columns = $state.raw<readonly Column[]>([]);
  turns = $state.raw<readonly Turn[]>([]);
  seed = $state(7);
  temperature = $state(0.7);
  topK = $state(0);
  topP = $state(1);
  maxTokens = $state(200);
  error = $state.raw<AppError | undefined>();
  /** Not yet in a column. */
  others = $derived(this.contestants.filter((c) => !this.columns.some((column) => column.contestant?.id === c.id)));
  #taskId: string | undefined;
  #opening: Promise<void> = Promise.resolve();

  /** Reads the task's contestants; the first time, Base and the newest other one get a column each. */
  open(taskId: string | undefined): Promise<void> {
    const opening = this.#open(taskId);
    this.#opening = opening.catch(() => undefined);
    return opening;
  }
  async #open(taskId: string | undefined): Promise<void> {
    if (taskId !== this.#taskId) {
      this.#taskId = taskId;
      this.columns = [];
      this.turns = [];
      this.error = undefined;
    }
    const list = taskId === undefined ? [] : await listContestants(taskId);
    if (taskId !== this.#taskId) return;
    this.contestants = list.toSorted((a, b) => a.createdAt - b.createdAt);
    const kept = this.columns.filter((c) => c.contestant === undefined || list.some((known) => known.id === c.contestant?.id));
    for (const column of kept) column.contestant = list.find((known) => known.id === column.contestant?.id);
    if (kept.length > 0) {
      this.columns = kept;
      return;
    }
    const base = this.contestants.find((c) => c.method === 'base');
    const newest = this.contestants.findLast((c) => c.method !== 'base');
    this.columns = newest === undefined ? [new Column(base)] : [new Column(base), new Column(newest)];
  }
  add(contestant: ContestantRecord): void {
    this.columns = [...this.columns, new Column(contestant)];
  }
  remove(column: Column): void {
    this.columns = this.columns.filter((c) => c !== column);
  }
  forget(): void {
    this.turns = [];
    this.error = undefined;
  }

  /**
   * Asks every column, one after the other. Stop ends the reply that is being written and leaves the others unasked. Resolves with false where the
   * question has not become part of the conversation.
   */
  async ask(question: string): Promise<boolean> {
    this.error = undefined;
    // A question can be sent before the columns are read.
    await this.#opening;
    const modelId =
      this.columns.find((c) => c.contestant !== undefined)?.contestant?.modelId ?? tasks.current?.modelId ?? models.status?.modelId;
    const earlier = this.turns;
    const answers = new Map(this.columns.map((column) => [column.id, new Answer()]));
    // One runtime after the other: both need not have room on the GPU at once.
    for (const runtime of ['engine', 'webllm'] as const) {
      const columns = this.columns.filter((column) => column.runtime === runtime);
      if (columns.length === 0) continue;
      try {
        if (modelId !== undefined && !(await runtimes.useIn(runtime, modelId))) return this.turns !== earlier;
        this.turns = [...earlier, { question, answers }];
        const name = columns.length === 1 ? (columns[0]?.name ?? 'Base') : `${columns.length} contestants`;
        const stopped = await job.run({ kind: 'answering', name, href: '#/chat', stopLabel: 'Stop' }, async (signal, onProgress) => {
          for (const column of columns) {
            const answer = answers.get(column.id);
            if (answer === undefined || signal.aborted) continue;
            await this.#answer(column, answer, conversation(earlier, column, question), signal, onProgress);
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
    return this.turns !== earlier;
  }
  async #answer(
    column: Column,
    answer: Answer,
    messages: readonly Message[],
    signal: AbortSignal,
    onProgress: (p: Progress) => void,
  ): Promise<void> {
    answer.state = 'writing';
    try {
      answer.reply = await engine().chat(
        {
          ...(column.contestant === undefined ? {} : { contestantId: column.contestant.id }),
          messages,
          runtime: column.runtime,
          strength: column.strength,
          temperature: this.temperature,
          topK: this.topK,
          topP: this.topP,
          seed: this.seed,
          maxTokens: this.maxTokens,
        },
        (piece) => {
          if (!signal.aborted) answer.text += piece;
        },
        signal,
        onProgress,
      );
      answer.state = 'done';
    } catch (cause) {
      answer.error = asAppError(cause);
      answer.state = 'failed';
    }
  }
}

/** What this column has heard and said so far, then the new question. */
function conversation(turns: readonly Turn[], column: Column, question: string): readonly Message[] {
  const messages: Message[] = [];
  for (const turn of turns) {
    const said = turn.answers.get(column.id);
    if (said === undefined || said.text === '') continue;
    messages.push({ role: 'user', content: turn.question }, { role: 'assistant', content: said.text });
  }
  return [...messages, { role: 'user', content: question }];
}

export const chat = new ChatState();
