// What was said in Chat, by task and for no task, among the settings: who is asked and how; the turns that are done; and, apart from them, the turn that is
// being answered, so that a long conversation is not written again with every word.
import * as v from 'valibot';
import { notify, onChange } from './changes.ts';
import { restore } from './restore.ts';
import { type Writing, writing } from './schema.ts';
import { readSetting } from './settings.ts';

/** Older turns than these are dropped. */
export const KEPT_TURNS = 200;
/** Turns are dropped sooner where they are this long together: a copy of all records is written beside the database after each change. */
export const KEPT_CHARACTERS = 2_000_000;

const number = v.pipe(v.number(), v.finite());
const text = v.string();
const runtime = v.picklist(['engine', 'webllm']);
const replySchema = v.object({
  promptTokens: number,
  replyTokens: number,
  tokensPerSecond: number,
  runtime,
  instead: v.exactOptional(v.object({ code: text, text })),
  end: v.picklist(['stop-token', 'longest', 'context', 'stopped']),
});
const answerSchema = v.object({
  text,
  /** 'stopped' was cut off with its page; 'unasked' never had its turn. */
  state: v.picklist(['done', 'failed', 'stopped', 'unasked']),
  reply: v.exactOptional(replySchema),
  error: v.exactOptional(v.object({ code: text, what: text, why: text, fix: text })),
});
const turnSchema = v.object({
  id: text,
  /** ms since the epoch */
  askedAt: number,
  question: text,
  /** By column id. */
  answers: v.record(text, answerSchema),
});
const columnSchema = v.object({ id: text, contestantId: v.exactOptional(text), name: text, mark: text, runtime, strength: number });
const setupSchema = v.object({
  /** Empty: those that a new conversation begins with. */
  columns: v.array(columnSchema),
  /** A person chose them. */
  chosen: v.boolean(),
  sampling: v.object({ seed: number, temperature: number, topK: number, topP: number, maxTokens: number }),
});
const turnsSchema = v.object({ turns: v.array(turnSchema), dropped: number });

export type KeptReply = v.InferOutput<typeof replySchema>;
export type KeptAnswer = v.InferOutput<typeof answerSchema>;
export type KeptTurn = v.InferOutput<typeof turnSchema>;
export type KeptColumn = v.InferOutput<typeof columnSchema>;
export type ChatSetup = v.InferOutput<typeof setupSchema>;
export interface KeptTurns {
  /** Oldest first. */
  readonly turns: readonly KeptTurn[];
  /** So many older ones are not kept any more. */
  readonly dropped: number;
}

type Part = 'columns' | 'turns' | 'answering';
/** With the task's id behind the name they go with the task. */
const keyOf = (part: Part, taskId: string | undefined) => `chat-${part}${taskId === undefined ? '' : ` ${taskId}`}`;

/** What cannot be read counts as nothing, as a draft does. */
function parsed<T>(schema: v.GenericSchema<unknown, T>, value: unknown): T | undefined {
  if (typeof value !== 'string') return undefined;
  try {
    const found = v.safeParse(schema, JSON.parse(value));
    return found.success ? found.output : undefined;
  } catch {
    return undefined;
  }
}
const none: KeptTurns = { turns: [], dropped: 0 };

export async function readConversation(taskId: string | undefined): Promise<KeptTurns & { readonly setup: ChatSetup | undefined }> {
  const [setup, turns] = await Promise.all([readSetting(keyOf('columns', taskId)), readSetting(keyOf('turns', taskId))]);
  return { setup: parsed(setupSchema, setup), ...(parsed(turnsSchema, turns) ?? none) };
}

/** The turns with one more, or with this one as it is now, by the time they were asked; the oldest go where they are too many. */
export function joined(kept: KeptTurns, turn: KeptTurn): KeptTurns {
  const all = [...kept.turns.filter(({ id }) => id !== turn.id), turn].sort((a, b) => a.askedAt - b.askedAt);
  let characters = 0;
  let from = all.length;
  while (from > 0 && all.length - from < KEPT_TURNS) {
    const { question, answers } = all[from - 1] ?? turn;
    characters += question.length + Object.values(answers).reduce((sum, answer) => sum + answer.text.length, 0);
    // The newest is kept however long it is.
    if (characters > KEPT_CHARACTERS && from < all.length) break;
    from--;
  }
  return { turns: all.slice(from), dropped: kept.dropped + from };
}

let telling = false;
/** Changes settings of a task, unless it was deleted meanwhile: nothing of it may come back. */
async function change<T>(taskId: string | undefined, part: Part, work: (tx: Writing) => Promise<T>): Promise<T | undefined> {
  const made = await writing(['tasks', 'settings'], async (tx) => {
    if (taskId === undefined || (await tx.objectStore('tasks').getKey(taskId)) !== undefined) return work(tx);
    await tx.objectStore('settings').delete(keyOf('answering', taskId));
    return undefined;
  });
  telling = true;
  notify('settings', keyOf(part, taskId));
  telling = false;
  return made;
}
/** Calls back when another tab changed who is asked or what was said. Returns the function that stops it. */
export function onConversation(callback: () => void): () => void {
  return onChange(({ store, key }) => {
    if (store === 'settings' && !telling && /^chat-(columns|turns)/.test(key)) callback();
  });
}

const put = (tx: Writing, key: string, value: object) => tx.objectStore('settings').put({ key, value: JSON.stringify(value) });
async function join(tx: Writing, taskId: string | undefined, turn: KeptTurn): Promise<KeptTurns> {
  const settings = tx.objectStore('settings');
  const before = restore('settings', await settings.get(keyOf('turns', taskId)))?.value;
  const turns = joined(parsed(turnsSchema, before) ?? none, turn);
  await put(tx, keyOf('turns', taskId), turns);
  await settings.delete(keyOf('answering', taskId));
  return turns;
}

export async function saveSetup(taskId: string | undefined, setup: ChatSetup): Promise<void> {
  await change(taskId, 'columns', (tx) => put(tx, keyOf('columns', taskId), setup));
}
/** Resolves with the turns as they are on the disk now, with those of other tabs; undefined where the task is gone. @throws 'storage/full' */
export function saveTurn(taskId: string | undefined, turn: KeptTurn): Promise<KeptTurns | undefined> {
  return change(taskId, 'turns', (tx) => join(tx, taskId, turn));
}
/** The turn that is being answered, as far as it is. Committed at once, so that it is kept even where its page is going away. */
export async function saveAnswering(taskId: string | undefined, turn: KeptTurn, durability: 'strict' | 'relaxed'): Promise<void> {
  const work = (tx: Writing): Promise<unknown> => {
    const written = put(tx, keyOf('answering', taskId), turn);
    tx.commit();
    return written;
  };
  await writing(['settings'], work, durability);
}
/** A turn that was cut off with its page joins the others, as far as it was written. Call it where no page answers. Resolves with whether there was one. */
export async function takeUpCut(taskId: string | undefined): Promise<boolean> {
  if ((await readSetting(keyOf('answering', taskId))) === undefined) return false;
  const taken = await change(taskId, 'turns', async (tx) => {
    const value = restore('settings', await tx.objectStore('settings').get(keyOf('answering', taskId)))?.value;
    const cut = parsed(turnSchema, value);
    if (cut === undefined) return false;
    await join(tx, taskId, cut);
    return true;
  });
  return taken === true;
}
export async function forgetTurns(taskId: string | undefined, setup: ChatSetup): Promise<void> {
  await change(taskId, 'turns', async (tx) => {
    await put(tx, keyOf('columns', taskId), setup);
    await tx.objectStore('settings').delete(keyOf('turns', taskId));
  });
}

/** `work` while this page alone answers in a task's conversation: the lock goes with the page, so whoever gets it next knows that nobody is writing. */
export function whileAnswering<T>(taskId: string | undefined, work: () => Promise<T>): Promise<T> {
  return navigator.locks.request(`maquette ${keyOf('answering', taskId)}`, work);
}
/** As `whileAnswering`, unless some page answers now: then `work` is not done, and this resolves with undefined. */
export function unlessAnswering<T>(taskId: string | undefined, work: () => Promise<T>): Promise<T | undefined> {
  return navigator.locks.request(`maquette ${keyOf('answering', taskId)}`, { ifAvailable: true }, (lock) =>
    lock === null ? Promise.resolve(undefined) : work(),
  );
}
