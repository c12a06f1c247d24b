import { remember, remembered } from '../remembered.ts';

export interface Stop {
  readonly name: string;
  /** What is seen there, in a few words. */
  readonly short: string;
  readonly href: string;
}
export const STOPS: readonly Stop[] = [
  { name: 'Data', short: 'What goes in, what should come out', href: '/data' },
  { name: 'Preview', short: 'What is read, what is trained', href: '/data' },
  { name: 'Baseline', short: 'The model as it came', href: '/' },
  { name: 'Improve', short: 'A prompt, shots, then LoRA', href: '/' },
  { name: 'Compare', short: 'The board, and what it cannot tell', href: '/' },
  { name: 'Export', short: 'A file other programs load', href: '/export' },
];
const KEY = 'tour';

/** The six stops: where the person is, which are behind, and whether the tour is shown now. It starts only when it is asked for. */
class TourState {
  /** From 0; the number of stops when all are behind. */
  at = $state(0);
  on = $state(false);
  /** The screen of the moment shows the stops itself. */
  inPage = $state(false);
  /** It was begun and left, or is being made. */
  begun = $derived(this.at > 0 || this.on);
  finished = $derived(this.at >= STOPS.length);
  stop = $derived(this.on ? STOPS[this.at] : undefined);

  constructor() {
    const [at, on] = (remembered(KEY) ?? '').split(' ');
    const place = Number(at);
    if (Number.isInteger(place) && place > 0 && place <= STOPS.length) this.at = place;
    this.on = on === 'on' && !this.finished;
  }
  /** Begins, or goes on where it was left. */
  start(): void {
    if (this.finished) this.at = 0;
    this.#move(this.at, true);
  }
  next(): void {
    this.#move(this.at + 1, this.at + 1 < STOPS.length);
  }
  back(): void {
    this.#move(Math.max(0, this.at - 1), true);
  }
  leave(): void {
    this.#move(this.at, false);
  }
  #move(at: number, on: boolean): void {
    this.at = at;
    this.on = on;
    remember(KEY, `${at} ${on ? 'on' : 'off'}`);
  }
}

export const tour = new TourState();
