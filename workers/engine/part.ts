import { AppError } from '../../src/lib/error.ts';

/** A module that could not be fetched says so. @throws 'app/part-missing' */
export async function part<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw partMissing(cause);
  }
}
export function partMissing(cause?: unknown): AppError {
  return new AppError('app/part-missing', 'A part of this program could not be loaded.', {
    why: 'It is read from this site when it is first needed, and the site did not give it.',
    fix: 'Check that the site is reachable, then reload the page. What was saved is safe.',
    cause,
  });
}
