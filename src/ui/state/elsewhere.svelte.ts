// What another tab does with the GPU, so that this one can watch it: each tab tells the others of its job on a channel, and a late one asks.
import type { FitEvent, Progress } from '../../rpc/contract.ts';
import type { JobSpec } from './job.svelte.ts';

/** A job as it goes over the channel: plain data. */
export interface Told {
  readonly tab: string;
  readonly spec: JobSpec;
  readonly progress?: Progress | undefined;
  readonly contestantId?: string | undefined;
}
type Message =
  | ({ readonly kind: 'job' } & Told)
  | { readonly kind: 'fit'; readonly tab: string; readonly event: FitEvent }
  | { readonly kind: 'over'; readonly tab: string }
  | { readonly kind: 'who'; readonly tab: string }
  | { readonly kind: 'here'; readonly tab: string };

/** Held by the worker of the tab whose job it is (`workers/engine/session.ts`). */
const LOCK = 'maquette gpu-job';
/** Progress goes out at most this often. */
const EVERY_MS = 100;
/** After so long without a word one looks whether the other tab still has the GPU: it may have been closed. */
const SILENCE_MS = 2500;

/** Messages come from this site alone, but perhaps from another version of it. */
function isMessage(data: unknown): data is Message {
  return typeof data === 'object' && data !== null && 'kind' in data && 'tab' in data && typeof data.tab === 'string';
}

class ElsewhereState {
  /** The other tab's job, as it was told last. */
  job = $state.raw<Told | undefined>();
  readonly #tab = crypto.randomUUID();
  readonly #channel = new BroadcastChannel('maquette jobs');
  #own: Omit<Told, 'tab'> | undefined;
  /** There are other tabs. */
  #others = false;
  #told = 0;
  #heard = 0;
  #watch: ReturnType<typeof setInterval> | undefined;
  readonly #listeners = new Set<(event: FitEvent | undefined) => void>();

  constructor() {
    this.#channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (isMessage(data) && data.tab !== this.#tab) this.#take(data);
    };
    this.#channel.postMessage({ kind: 'who', tab: this.#tab });
  }
  /** Tells the other tabs of this tab's job; `undefined` when it is over. */
  tell(own: Omit<Told, 'tab'> | undefined): void {
    const now = performance.now();
    const same = own !== undefined && this.#own?.spec === own.spec;
    this.#own = own;
    if (!this.#others || (same && now - this.#told < EVERY_MS)) return;
    this.#told = now;
    this.#channel.postMessage(own === undefined ? { kind: 'over', tab: this.#tab } : { kind: 'job', tab: this.#tab, ...own });
  }
  tellFit(event: FitEvent): void {
    if (this.#others) this.#channel.postMessage({ kind: 'fit', tab: this.#tab, event });
  }
  /** Calls back with each event of a run in another tab, and with undefined when its tab is done with it. */
  onFit(callback: (event: FitEvent | undefined) => void): void {
    this.#listeners.add(callback);
  }

  #take(message: Message): void {
    this.#others = true;
    if (message.kind === 'who') {
      this.#channel.postMessage({ kind: 'here', tab: this.#tab });
      this.#told = 0;
      if (this.#own !== undefined) this.tell(this.#own);
    } else if (message.kind === 'here') {
      return;
    } else if (message.kind === 'over') {
      if (this.job?.tab === message.tab) this.#clear();
    } else {
      this.#heard = performance.now();
      this.#watch ??= setInterval(() => void this.#look(), SILENCE_MS);
      if (message.kind === 'job') this.job = message;
      else for (const listener of this.#listeners) listener(message.event);
    }
  }
  /** A closed tab says nothing more; its lock is free. */
  async #look(): Promise<void> {
    if (performance.now() - this.#heard < SILENCE_MS) return;
    const { held } = await navigator.locks.query();
    if (held?.some(({ name }) => name === LOCK) !== true) this.#clear();
  }
  #clear(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
    const trained = this.job?.spec.kind === 'training';
    this.job = undefined;
    if (trained) for (const listener of this.#listeners) listener(undefined);
  }
}

export const elsewhere = new ElsewhereState();
