import { type AppError, asAppError } from '../../lib/error.ts';

/** What screen readers hear at milestones, and the error that a whole screen should know of. */
class LiveState {
  text = $state('');
  error = $state.raw<AppError | undefined>();

  /** Polite: started, each validation, best so far, done, failed. Never each step. */
  say(text: string): void {
    // The same words twice are heard twice only if the region changes.
    this.text = this.text === text ? `${text}\u00a0` : text;
  }
  /** An error that no part of the screen shows by itself. */
  fail(error: unknown): void {
    this.error = asAppError(error);
  }
  clear(): void {
    this.error = undefined;
  }
}

export const live = new LiveState();
