import { AppError, isAbort } from '../../lib/error.ts';
import type { Progress } from '../../rpc/contract.ts';
import { elsewhere } from './elsewhere.svelte.ts';
import { live } from './live.svelte.ts';

export interface JobSpec {
  readonly kind: 'measuring' | 'training' | 'loading' | 'importing' | 'answering';
  /** What it works on: "Base", "LoRA", a model's name. */
  readonly name: string;
  readonly mark?: string;
  /** The screen that shows it. */
  readonly href: string;
  readonly taskId?: string;
  /** What Stop does, in its own words: "Stop and keep what is done". */
  readonly stopLabel?: string;
  /** Closing the tab would lose something: ask first. */
  readonly guard?: boolean;
}

/** The one job on the GPU: the engine does one call at a time, so a second one waits for the person, not in a queue. */
class JobState {
  current = $state.raw<JobSpec | undefined>();
  progress = $state.raw<Progress | undefined>();
  /** Of a measurement: the contestant whose rows are being answered now. */
  contestantId = $state.raw<string | undefined>();
  stopping = $state(false);
  busy = $derived(this.current !== undefined);
  /** Who has the GPU: this tab or another one. */
  gpuBusy = $derived(this.busy || elsewhere.job !== undefined);
  #controller: AbortController | undefined;

  /**
   * Runs `work` as the one job. Its signal aborts on `stop()`. Resolves with undefined after a stop that the work turned into an AbortError;
   * every other error goes on to the caller.
   */
  async run<T>(
    spec: JobSpec,
    work: (signal: AbortSignal, onProgress: (p: Progress & { readonly contestantId?: string }) => void) => Promise<T>,
  ): Promise<T | undefined> {
    if (this.current !== undefined) {
      throw new AppError('engine/busy', `${VERBS[this.current.kind]} ${this.current.name} goes on. ${spec.name} was not begun.`, {
        why: 'One thing is done at a time, so that each is as fast as it can be and repeatable.',
        fix: 'Wait until it is done, or stop it.',
      });
    }
    const controller = new AbortController();
    this.#controller = controller;
    this.current = spec;
    this.progress = undefined;
    this.contestantId = undefined;
    this.stopping = false;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    if (spec.guard === true) window.addEventListener('beforeunload', ask);
    if (spec.kind !== 'importing') elsewhere.tell({ spec });
    live.say(`${VERBS[spec.kind]} ${spec.name}: started.`);
    try {
      const result = await work(controller.signal, (p) => {
        this.progress = p;
        if (p.contestantId !== undefined) this.contestantId = p.contestantId;
        if (spec.kind !== 'importing') elsewhere.tell({ spec, progress: p, contestantId: this.contestantId });
      });
      live.say(controller.signal.aborted ? `${VERBS[spec.kind]} ${spec.name}: stopped.` : `${VERBS[spec.kind]} ${spec.name}: done.`);
      return result;
    } catch (error) {
      if (isAbort(error) && controller.signal.aborted) {
        live.say(`${VERBS[spec.kind]} ${spec.name}: stopped.`);
        return undefined;
      }
      live.say(`${VERBS[spec.kind]} ${spec.name}: failed.`);
      throw error;
    } finally {
      window.removeEventListener('beforeunload', ask);
      if (spec.kind !== 'importing') elsewhere.tell(undefined);
      this.current = undefined;
      this.progress = undefined;
      this.contestantId = undefined;
      this.stopping = false;
      this.#controller = undefined;
    }
  }

  stop(): void {
    if (this.#controller === undefined || this.stopping) return;
    this.stopping = true;
    this.#controller.abort();
  }
}

export const VERBS: Readonly<Record<JobSpec['kind'], string>> = {
  measuring: 'Measuring',
  training: 'Training',
  loading: 'Loading',
  importing: 'Importing',
  answering: 'Answering with',
};

export const job = new JobState();
