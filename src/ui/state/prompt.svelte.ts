import { engine } from '../../client/engine-client.ts';
import type { Example } from '../../data/types.ts';
import type { BoardRow, Paired } from '../../experiments/types.ts';
import { type AppError, asAppError } from '../../lib/error.ts';
import { emptyPrompt, type Prompt } from '../../methods/types.ts';
import { listContestants } from '../../storage/customizations.ts';
import { parsePrompt } from '../../storage/restore.ts';
import { readSetting, saveSetting } from '../../storage/settings.ts';
import type { ContestantRecord } from '../../storage/types.ts';
import { board } from './board.svelte.ts';
import { live } from './live.svelte.ts';
import { models } from './models.svelte.ts';
import { tasks } from './tasks.svelte.ts';

/** A saved prompt with what the board says of it. */
export interface Version {
  readonly contestant: ContestantRecord;
  readonly row: BoardRow | undefined;
  /** Against the version before it, where both are scored. */
  readonly paired: Paired | undefined;
}

const COUNT_AFTER_MS = 400;

/** The prompt that is being written for the task that is shown, kept over a reload, and its saved versions. */
class PromptState {
  draft = $state.raw<Prompt>(emptyPrompt);
  versions = $state.raw<readonly Version[]>([]);
  tokens = $state.raw<number | undefined>();
  error = $state.raw<AppError | undefined>();
  /** The draft has been read from this device: before that, typing into it would be lost. */
  ready = $state(false);
  /** The versions have been read from this device. */
  read = $state(false);
  /** The draft is being saved and measured. */
  busy = $state(false);
  newest = $derived(this.versions[0]);
  /** The draft says what the newest version says. */
  unchanged = $derived(this.newest !== undefined && same(this.newest.contestant.prompt, this.draft));
  empty = $derived(this.draft.system.trim() === '' && this.draft.shots.length === 0 && this.draft.cue === '');
  #taskId: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked = 0;
  #opening: Promise<void> = Promise.resolve();

  open(taskId: string | undefined): Promise<void> {
    const opening = this.#open(taskId);
    this.#opening = opening.catch(() => undefined);
    return opening;
  }
  async #open(taskId: string | undefined): Promise<void> {
    if (taskId !== this.#taskId) {
      this.#taskId = taskId;
      this.ready = false;
      this.read = false;
      this.draft = emptyPrompt;
      this.versions = [];
      this.tokens = undefined;
      this.error = undefined;
      if (taskId !== undefined) {
        const kept = await readSetting(draftKey(taskId));
        if (taskId !== this.#taskId) return;
        // A draft that cannot be read is an empty draft; saved versions are records of their own.
        this.draft = (typeof kept === 'string' ? parsePrompt(kept) : undefined) ?? emptyPrompt;
      }
      this.ready = true;
    }
    await this.refresh();
  }
  /** Saved versions, newest first, with their scores. */
  async refresh(): Promise<void> {
    const taskId = this.#taskId;
    if (taskId === undefined) return;
    this.#asked += 1;
    const asked = this.#asked;
    const [contestants, shown] = await Promise.all([listContestants(taskId), engine().board(taskId, 'validation')]);
    const prompts = contestants.filter((c) => c.method === 'prompt').sort((a, b) => a.createdAt - b.createdAt);
    const versions: Version[] = [];
    for (const [i, contestant] of prompts.entries()) {
      const row = shown.rows.find((r) => r.contestantId === contestant.id);
      const before = prompts[i - 1];
      const scoredBefore = shown.rows.find((r) => r.contestantId === before?.id)?.score !== undefined;
      const paired =
        before !== undefined && row?.score !== undefined && scoredBefore
          ? (await engine().compare(contestant.id, before.id, 'validation')).paired
          : undefined;
      versions.push({ contestant, row, paired });
    }
    if (asked !== this.#asked || taskId !== this.#taskId) return;
    this.versions = versions.toReversed();
    this.read = true;
    await this.count();
  }
  /** Tokens that the draft adds to each call, by the model in use. */
  async count(): Promise<void> {
    const taskId = this.#taskId;
    if (taskId === undefined || models.status === undefined) {
      this.tokens = undefined;
      return;
    }
    const draft = this.draft;
    const tokens = await engine().promptTokens(taskId, draft);
    if (draft === this.draft) this.tokens = tokens;
  }
  change(part: Partial<Prompt>): void {
    this.draft = { ...this.draft, ...part };
    const failed = (cause: unknown): void => {
      this.error = asAppError(cause);
    };
    // Kept at once: a tab may be closed right after a word was typed. The tokens of half a word are of no use.
    if (this.#taskId !== undefined) saveSetting(draftKey(this.#taskId), JSON.stringify(this.draft)).catch(failed);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.count().catch(failed), COUNT_AFTER_MS);
  }
  async draw(count: number, seed: number): Promise<void> {
    const taskId = this.#taskId;
    if (taskId === undefined) return;
    const shots = await engine().drawShots(taskId, count, seed);
    if (taskId === this.#taskId) this.change({ shots });
  }
  toggle(row: Example): void {
    const kept = this.draft.shots.filter((shot) => shot.id !== row.id);
    this.change({ shots: kept.length === this.draft.shots.length ? [...kept, row] : kept });
  }

  /** Saves the draft as the next version, unless it is the newest already, and scores it on validation. */
  async measure(): Promise<void> {
    const task = tasks.current;
    // Pressed twice, it is still one wish.
    if (task === undefined || this.busy) return;
    this.busy = true;
    this.error = undefined;
    const { draft } = this;
    try {
      // It can be asked for before the versions are read: without them a draft that is the newest one would be saved again.
      for (let seen: Promise<void> | undefined; seen !== this.#opening; ) {
        seen = this.#opening;
        await seen;
      }
      const newest = task.id === this.#taskId ? this.newest?.contestant : undefined;
      if (task.modelId !== undefined && !(await models.use(task.modelId))) return;
      const contestant = newest !== undefined && same(newest.prompt, draft) ? newest : await engine().savePrompt(task.id, draft);
      await this.refresh();
      board.split = 'validation';
      await board.measure([{ contestantId: contestant.id, name: contestant.name, mark: 'prompt' }], board.runtime, task);
      if (task.id !== this.#taskId) return;
      if (board.error !== undefined) this.error = board.error;
      await this.refresh();
    } catch (cause) {
      // Of another task the screen shows nothing here.
      if (task.id === this.#taskId) this.error = asAppError(cause);
      else live.fail(cause);
    } finally {
      this.busy = false;
    }
  }
}

const draftKey = (taskId: string) => `prompt-draft ${taskId}`;
function same(a: Prompt, b: Prompt): boolean {
  const ids = (p: Prompt) => p.shots.map((shot) => shot.id).join(' ');
  return a.system === b.system && a.cue === b.cue && ids(a) === ids(b);
}

export const prompt = new PromptState();
