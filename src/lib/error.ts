/** What an error says besides its code: why it happened, what to do, and the error that caused it. */
export interface ErrorDetails {
  readonly why?: string;
  readonly fix?: string;
  readonly cause?: unknown;
  /** Raw numbers and names for a report; plain data, so that it crosses a worker boundary. */
  readonly facts?: Readonly<Record<string, string | number | boolean>>;
}

/** Every error that a person can meet. `code` is `area/what` and is what tests and screens match on; the texts are for people. */
export class AppError extends Error {
  readonly code: string;
  readonly why: string;
  readonly fix: string;
  readonly facts: Readonly<Record<string, string | number | boolean>>;

  constructor(code: string, what: string, details: ErrorDetails = {}) {
    super(what, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'AppError';
    this.code = code;
    this.why = details.why ?? '';
    this.fix = details.fix ?? '';
    this.facts = details.facts ?? {};
  }
}

/** Is this the planned end of something a person stopped? */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** An error of ours as it is; anything else becomes `app/bug`, which says that it is our mistake and keeps the original as its cause. */
export function asAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new AppError('app/bug', `Something in this program went wrong: ${message}`, {
    why: 'This is a mistake in the program, not in your data.',
    fix: 'Nothing you made is lost. Reload the page; if it happens again, report it with the text under "For a report".',
    cause: error,
  });
}
