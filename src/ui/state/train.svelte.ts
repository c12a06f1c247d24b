import { engine } from '../../client/engine-client.ts';
import type { CurvePoint } from '../../experiments/types.ts';
import { type AppError, asAppError } from '../../lib/error.ts';
import { emptyPrompt, type MethodDeclaration, type Prompt } from '../../methods/types.ts';
import type { FitEvent, FitPlan, FitSpec } from '../../rpc/contract.ts';
import { readContestant } from '../../storage/customizations.ts';
import { listRuns } from '../../storage/runs.ts';
import { readSetting, saveSetting } from '../../storage/settings.ts';
import type { RunNote, RunRecord, TaskRecord } from '../../storage/types.ts';
import type { Message } from '../../text/types.ts';
import { duration, score, shorten } from '../format.ts';
import { app } from './app.svelte.ts';
import { board } from './board.svelte.ts';
import { elsewhere } from './elsewhere.svelte.ts';
import { job } from './job.svelte.ts';
import { live } from './live.svelte.ts';
import { models } from './models.svelte.ts';
import { runtimes } from './runtimes.svelte.ts';

export interface Pinned {
  readonly name: string;
  readonly messages: readonly Message[];
}
/** Points come every step; the charts are drawn again at most this often. */
const REDRAW_MS = 150;

/** A run as the screen draws it: the one that is going on, or one that was kept. */
export class RunView {
  runId = $state<string | undefined>();
  step = $state(0);
  steps = $state(0);
  tokensPerSecond = $state(0);
  secondsLeft = $state<number | undefined>();
  best = $state.raw<{ readonly step: number; readonly score: number } | undefined>();
  notes = $state.raw<readonly RunNote[]>([]);
  samples = $state.raw<readonly { readonly step: number; readonly name: string; readonly text: string }[]>([]);
  readonly #curves = new Map<string, CurvePoint[]>();
  #drawn = $state(0);
  #lastDrawn = 0;

  /** A curve as it is now; read it in the markup and it is drawn again as it grows. */
  curve(name: string): readonly CurvePoint[] {
    return this.#drawn < 0 ? [] : [...(this.#curves.get(name) ?? [])];
  }
  last(name: string): number | undefined {
    return this.#drawn < 0 ? undefined : this.#curves.get(name)?.at(-1)?.value;
  }
  take(event: FitEvent): void {
    if (event.kind === 'started') {
      this.runId = event.runId;
      this.steps = event.steps;
    } else if (event.kind === 'progress') {
      this.step = event.step;
      this.steps = event.steps;
      this.tokensPerSecond = event.tokensPerSecond;
      this.secondsLeft = event.secondsLeft;
      this.redraw(event.step === event.steps);
    } else if (event.kind === 'point') {
      const points = this.#curves.get(event.name) ?? [];
      // After a step that was taken back its points come again.
      while ((points.at(-1)?.step ?? -1) >= event.step) points.pop();
      points.push({ step: event.step, value: event.value });
      this.#curves.set(event.name, points);
      if (event.name !== 'loss') this.redraw(true);
    } else if (event.kind === 'sample') {
      // A tab that came late has it from the run's record already.
      const known = this.samples.filter(({ step, name }) => step !== event.step || name !== event.name);
      this.samples = [...known, { step: event.step, name: event.name, text: event.text }];
    } else if (event.kind === 'best') {
      this.best = event;
    } else {
      this.notes = [...this.notes, { code: event.code, text: event.text }];
      live.say(event.text);
    }
  }
  redraw(now: boolean): void {
    const time = performance.now();
    if (!now && time - this.#lastDrawn < REDRAW_MS) return;
    this.#lastDrawn = time;
    this.#drawn += 1;
  }
  static of(run: RunRecord): RunView {
    const view = new RunView();
    view.runId = run.id;
    view.step = run.step;
    view.steps = run.steps;
    view.best = run.best;
    view.samples = run.samples;
    view.notes = run.notes ?? [];
    for (const [name, points] of Object.entries(run.curves)) view.#curves.set(name, [...points]);
    view.redraw(true);
    return view;
  }
}

/** The Train screen: what the next run will be, the run that goes on, and those before it. */
class TrainState {
  methodId = $state('lora');
  /** By setting; what is absent is the default. */
  config = $state.raw<Readonly<Record<string, unknown>>>({});
  prompt = $state.raw<Prompt>(emptyPrompt);
  /** The saved version that `prompt` is of; '' is none. */
  underId = $state('');
  pinned = $state.raw<readonly Pinned[]>([]);
  plan = $state.raw<FitPlan | undefined>();
  planning = $state(false);
  /** What was set for the next run has been read from this device: before that, a change would be lost. */
  ready = $state(false);
  runs = $state.raw<readonly RunRecord[]>([]);
  /** The run that goes on now. */
  now = $state.raw<RunView | undefined>();
  shownId = $state<string | undefined>();
  error = $state.raw<AppError | undefined>();
  /** Why there is no plan. Kept apart from what a run ended with: a new plan must not wipe that away. */
  planError = $state.raw<AppError | undefined>();
  running = $derived(job.current?.kind === 'training');
  /** Methods whose fit needs the engine's gradients. */
  methods = $derived(app.methods.filter((m) => m.needs.includes('train')));
  method = $derived<MethodDeclaration | undefined>(this.methods.find((m) => m.id === this.methodId) ?? this.methods[0]);
  shownRun = $derived(this.runs.find((run) => run.id === this.shownId) ?? this.runs[0]);
  view = $derived(this.now ?? (this.shownRun === undefined ? undefined : RunView.of(this.shownRun)));
  /** The run of this task that goes on in another tab: it is watched here. */
  watched = $derived(!this.running && this.now !== undefined);
  #taskId: string | undefined;
  #asked = 0;
  #opening: Promise<void> = Promise.resolve();
  #starting = false;
  #pinnedByHand = false;

  constructor() {
    elsewhere.onFit((event) => {
      if (this.running) return;
      if (event !== undefined) this.#watch(event);
      else if (this.now !== undefined) {
        this.now = undefined;
        void this.open(this.#taskId).catch((cause: unknown) => live.fail(cause));
      }
    });
  }
  /** Takes up another tab's run: from its first event, or from what its record has so far. */
  #watch(event: FitEvent): void {
    const told = elsewhere.job;
    if (told === undefined || told.spec.kind !== 'training' || told.spec.taskId !== this.#taskId) return;
    if (event.kind === 'started') this.now = new RunView();
    else if (this.now === undefined) {
      const begun = this.runs.find(({ status }) => status === 'fitting');
      if (begun !== undefined) this.now = RunView.of(begun);
    }
    this.now?.take(event);
  }

  open(taskId: string | undefined): Promise<void> {
    const opening = this.#open(taskId);
    this.#opening = opening.catch(() => undefined);
    return opening;
  }
  async #open(taskId: string | undefined): Promise<void> {
    if (taskId !== this.#taskId) {
      this.#taskId = taskId;
      // A plan that is being made is of the task before.
      this.#asked += 1;
      this.planning = false;
      this.ready = false;
      this.config = {};
      this.prompt = emptyPrompt;
      this.underId = '';
      this.pinned = [];
      this.#pinnedByHand = false;
      this.plan = undefined;
      this.planError = undefined;
      this.error = undefined;
      this.shownId = undefined;
      if (!this.running) this.now = undefined;
      if (taskId !== undefined) {
        const draft = await readSetting(draftKey(taskId));
        if (taskId !== this.#taskId) return;
        if (typeof draft === 'string') this.#take(draft);
        // The words of the version that was chosen, where it is still there.
        const version = this.underId === '' ? undefined : await readContestant(this.underId);
        if (taskId !== this.#taskId) return;
        if (version?.taskId === taskId) this.prompt = version.prompt;
        else this.underId = '';
      }
      this.ready = true;
    }
    const runs = taskId === undefined ? [] : await listRuns(taskId);
    if (taskId === this.#taskId) this.runs = runs.toSorted((a, b) => b.startedAt - a.startedAt);
  }
  set(key: string, value: unknown): void {
    const { [key]: _, ...rest } = this.config;
    this.config = value === undefined ? rest : { ...rest, [key]: value };
    this.#keep();
  }
  /** Trains under the words of a saved version from now on; '' and no words, under none. */
  under(id: string, prompt: Prompt): void {
    this.underId = id;
    this.prompt = prompt;
    this.#keep();
  }
  /** Pins what the person wrote; until then the screen pins rows of the task. */
  pin(i: number, pinned: Pinned): void {
    this.pinned = this.pinned.map((before, k) => (k === i ? pinned : before));
    this.#pinnedByHand = true;
    this.#keep();
  }
  /** What was set for the next run is there after a reload. */
  #keep(): void {
    const { config, underId } = this;
    const draft = JSON.stringify({ config, underId, pinned: this.#pinnedByHand ? this.pinned.map(textOf) : [] });
    if (this.#taskId !== undefined) saveSetting(draftKey(this.#taskId), draft).catch((cause: unknown) => live.fail(cause));
  }
  #take(draft: string): void {
    const { config, underId, pinned } = readDraft(draft);
    this.config = config;
    this.underId = underId;
    this.#pinnedByHand = pinned.length > 0;
    if (pinned.length > 0) this.pinned = pinned.map(pinnedOf);
  }
  spec(task: TaskRecord): FitSpec {
    return {
      taskId: task.id,
      method: this.method?.id ?? this.methodId,
      config: this.config,
      prompt: this.prompt,
      name: this.method?.name ?? this.methodId,
      seed: task.seed,
      pinned: this.pinned.filter((p) => p.messages.some((m) => m.content.trim() !== '')),
    };
  }
  /** What the run would cost and what stands in its way. Asked again as settings change; the latest answer counts. */
  async look(task: TaskRecord): Promise<void> {
    this.#asked += 1;
    const asked = this.#asked;
    this.planning = true;
    try {
      const plan = await engine().planFit(this.spec(task));
      if (asked !== this.#asked) return;
      this.plan = plan;
      this.planError = undefined;
    } catch (cause) {
      if (asked !== this.#asked) return;
      const error = asAppError(cause);
      // Without a model there is nothing to count yet; it is loaded at the start.
      this.planError = error.code === 'model/none' ? undefined : error;
    } finally {
      if (asked === this.#asked) this.planning = false;
    }
  }
  async start(task: TaskRecord): Promise<void> {
    // Pressed twice, it is still one wish.
    if (this.#starting || this.running) return;
    this.#starting = true;
    this.error = undefined;
    // Of another task the screen shows nothing here, whatever is opened while this goes on.
    const shown = () => this.#taskId === task.id;
    try {
      // It can be asked for before what was set is read.
      await this.#opening;
      const spec = this.spec(task);
      if (task.modelId !== undefined && !(await models.use(task.modelId))) return;
      const view = new RunView();
      this.now = view;
      const made = await job.run(
        {
          kind: 'training',
          name: spec.name,
          mark: this.method?.mark ?? 'lora',
          href: '#/train',
          taskId: task.id,
          stopLabel: 'Stop and keep best',
          guard: true,
        },
        (signal, onProgress) =>
          engine().fit(
            spec,
            (event) => {
              view.take(event);
              elsewhere.tellFit(event);
              if (event.kind === 'progress') {
                onProgress({ what: 'Training', done: event.step, total: event.steps, unit: 'steps', secondsLeft: event.secondsLeft });
              } else if (event.kind === 'point' && event.name === 'validation loss') {
                live.say(`Step ${event.step}: validation loss ${event.value.toFixed(2)}.`);
              } else if (event.kind === 'best') {
                live.say(`Best so far: ${score(event.score)} at step ${event.step}.`);
              }
            },
            signal,
          ),
      );
      view.redraw(true);
      await runtimes.refreshIfUsed();
      if (made !== undefined) live.say(`${made.name} is on the board, made in ${duration(made.cost.seconds)}.`);
      if (shown()) {
        await this.open(task.id);
        this.shownId = view.runId;
      }
      this.now = undefined;
      // Its row on the board: the validation rows answered by what was kept.
      if (made !== undefined && board.split === 'validation')
        await board.measure([{ contestantId: made.id, name: made.name, mark: made.method }], board.runtime, task);
    } catch (cause) {
      if (!shown()) {
        live.fail(cause);
        return;
      }
      this.error = asAppError(cause);
      // What it left is read where that is possible; why it ended is what counts.
      await this.open(task.id).catch(() => undefined);
      this.shownId = this.now?.runId ?? this.shownId;
    } finally {
      this.now = undefined;
      this.#starting = false;
    }
  }
}

const draftKey = (taskId: string) => `train-draft ${taskId}`;
const textOf = ({ messages }: Pinned) => messages.at(-1)?.content ?? '';
/** A text as a pinned conversation. */
export function pinnedOf(text: string): Pinned {
  return { name: shorten(text, 120), messages: [{ role: 'user', content: text }] };
}
/** A draft that cannot be read is an empty one: settings that a method does not take are refused where it reads them. */
function readDraft(text: string): { config: Readonly<Record<string, unknown>>; underId: string; pinned: readonly string[] } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const field = (key: string): unknown => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined);
  const [config, underId, pinned] = [field('config'), field('underId'), field('pinned')];
  return {
    config: typeof config === 'object' && config !== null ? Object.fromEntries(Object.entries(config)) : {},
    underId: typeof underId === 'string' ? underId : '',
    pinned: Array.isArray(pinned) ? pinned.filter((line) => typeof line === 'string') : [],
  };
}

export const train = new TrainState();
