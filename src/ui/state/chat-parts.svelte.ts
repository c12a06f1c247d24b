import { engine } from '../../client/engine-client.ts';
import type { Runtime } from '../../experiments/types.ts';
import { AppError } from '../../lib/error.ts';
import type { HeldDifference } from '../../rpc/contract.ts';
import { onChange } from '../../storage/changes.ts';
import {
  type KeptAnswer,
  type KeptColumn,
  type KeptReply,
  type KeptTurn,
  type KeptTurns,
  saveAnswering,
  saveTurn,
} from '../../storage/conversations.ts';
import type { ContestantRecord } from '../../storage/types.ts';
import type { Message } from '../../text/types.ts';
import { board } from './board.svelte.ts';
import { models } from './models.svelte.ts';

/** What a page that goes away while an answer is written may lose of it. */
const KEEP_EVERY_MS = 150;

/** What one column answered in one turn. */
export class Answer {
  text = $state('');
  /** 'stopped' was cut off when its page was closed; 'unasked' never had its turn. */
  state = $state<'waiting' | 'writing' | KeptAnswer['state']>('waiting');
  reply = $state.raw<KeptReply | undefined>();
  error = $state.raw<AppError | undefined>();

  /** As it would be found if the page went now. */
  kept(): KeptAnswer {
    const { text, state, reply, error } = this;
    return {
      text,
      state: state === 'waiting' ? 'unasked' : state === 'writing' ? 'stopped' : state,
      ...(reply === undefined ? {} : { reply: plain(reply) }),
      ...(error === undefined ? {} : { error: { code: error.code, what: error.message, why: error.why, fix: error.fix } }),
    };
  }
  static of({ text, state, reply, error }: KeptAnswer): Answer {
    const answer = new Answer();
    answer.text = text;
    answer.state = state;
    answer.reply = reply;
    if (error !== undefined) answer.error = new AppError(error.code, error.what, { why: error.why, fix: error.fix });
    return answer;
  }
}
/** Without the text, which the answer has; and an answer of no time has no speed that JSON could say. */
function plain({ promptTokens, replyTokens, tokensPerSecond, runtime, instead, end }: KeptReply): KeptReply {
  const speed = Number.isFinite(tokensPerSecond) ? tokensPerSecond : 0;
  return { promptTokens, replyTokens, tokensPerSecond: speed, runtime, end, ...(instead === undefined ? {} : { instead }) };
}

export interface Turn {
  readonly id: string;
  /** ms since the epoch */
  readonly askedAt: number;
  readonly question: string;
  /** By column id. */
  readonly answers: ReadonlyMap<string, Answer>;
}
export function keptTurn({ id, askedAt, question, answers }: Turn): KeptTurn {
  return { id, askedAt, question, answers: Object.fromEntries([...answers].map(([column, answer]) => [column, answer.kept()])) };
}
export function turnOf({ id, askedAt, question, answers }: KeptTurn): Turn {
  return { id, askedAt, question, answers: new Map(Object.entries(answers).map(([column, answer]) => [column, Answer.of(answer)])) };
}
/** What this column has heard and said so far, then the new question. */
export function conversation(turns: readonly Turn[], column: Column, question: string): readonly Message[] {
  const messages: Message[] = [];
  for (const turn of turns) {
    const said = turn.answers.get(column.id);
    if (said === undefined || said.text === '') continue;
    messages.push({ role: 'user', content: turn.question }, { role: 'assistant', content: said.text });
  }
  return [...messages, { role: 'user', content: question }];
}

/** A contestant one talks to; without one, the model as it came. */
export class Column {
  readonly id: string;
  runtime = $state<Runtime>('engine');
  contestant = $state.raw<ContestantRecord | undefined>();
  strength = $state(1);
  /** Its contestant was deleted: what it said stands, and it is asked no more. */
  gone = $state(false);
  /** What it changes that the base is held otherwise than while this was trained; measured after its first answer. */
  difference = $state.raw<HeldDifference | undefined>();
  #measuredOn: string | undefined;
  readonly #kept: KeptColumn | undefined;

  constructor(contestant: ContestantRecord | undefined, kept?: KeptColumn) {
    this.id = kept?.id ?? crypto.randomUUID();
    this.contestant = contestant;
    this.#kept = kept;
    if (kept !== undefined) this.set(kept);
  }
  set({ runtime, strength }: Pick<KeptColumn, 'runtime' | 'strength'>): void {
    this.runtime = runtime;
    this.strength = strength;
  }
  name = $derived.by(() => this.contestant?.name ?? this.#kept?.name ?? 'Base');
  /** As on the board, which tells a system prompt, shots and steps apart. */
  mark = $derived.by(() => {
    const row =
      this.contestant === undefined ? undefined : board.board?.rows.find(({ contestantId }) => contestantId === this.contestant?.id);
    return row?.mark ?? this.contestant?.method ?? this.#kept?.mark ?? 'base';
  });
  isBase = $derived(this.mark === 'base');

  /** Its contestant as it is now, of all there are. The base model is there without one, too. */
  follow(list: readonly ContestantRecord[]): void {
    const id = this.contestant?.id ?? this.#kept?.contestantId;
    const found = list.find((known) => known.id === id) ?? (this.isBase ? list.find(({ method }) => method === 'base') : undefined);
    this.gone = found === undefined && !this.isBase;
    if (!this.gone) this.contestant = found;
  }
  kept(): KeptColumn {
    const contestantId = this.contestant?.id ?? this.#kept?.contestantId;
    const { id, name, mark, runtime, strength } = this;
    return { id, name, mark, runtime, strength, ...(contestantId === undefined ? {} : { contestantId }) };
  }
  /** Once for each way of holding the base. `runtime` is what answered: web-llm, or our engine where it was asked for in vain. */
  async measureDifference(runtime: Runtime, signal: AbortSignal): Promise<void> {
    const { contestant } = this;
    const held = runtime === 'webllm' ? runtime : models.status?.storage;
    if (contestant?.adapterId === undefined || held === undefined || this.#measuredOn === held) return;
    this.difference = await engine().heldDifference(contestant.id, signal, runtime);
    if (!signal.aborted) this.#measuredOn = held;
  }
}

/** Keeps a turn while it is answered: soon after each word, at once when an answer is done, and when the page goes away. */
export class Keeping {
  readonly #taskId: string | undefined;
  readonly #turn: Turn;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Its end has come, or everything on this device was deleted by another tab. */
  #over = false;
  #unfollow = (): void => {};
  readonly #leave = (): void => void this.now('relaxed');

  constructor(taskId: string | undefined, turn: Turn) {
    this.#taskId = taskId;
    this.#turn = turn;
  }
  begin(): void {
    window.addEventListener('pagehide', this.#leave);
    this.#unfollow = onChange(({ store }) => {
      this.#over ||= store === 'all';
    });
    void this.now('strict');
  }
  soon(): void {
    if (!this.#over) this.#timer ??= setTimeout(() => void this.now('relaxed'), KEEP_EVERY_MS);
  }
  /** What fails here is tried again, and said, at the end of the turn. */
  async now(durability: 'strict' | 'relaxed'): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#over) await saveAnswering(this.#taskId, keptTurn(this.#turn), durability).catch(() => undefined);
  }
  async end(): Promise<KeptTurns | undefined> {
    clearTimeout(this.#timer);
    window.removeEventListener('pagehide', this.#leave);
    this.#unfollow();
    if (this.#over) return undefined;
    this.#over = true;
    return saveTurn(this.#taskId, keptTurn(this.#turn));
  }
}
