// The only file of ours that calls `fetch`: samples that lie beside the page itself.
import { AppError } from '../lib/error.ts';

/** The text of a file of this site, by its path relative to the page ("samples/reviews.jsonl"). @throws 'sample/missing', 'app/foreign-address' */
export async function fetchSample(path: string): Promise<string> {
  const base = new URL('.', globalThis.location.href);
  const url = new URL(path, base);
  if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) {
    throw new AppError('app/foreign-address', `${path} is not a file of this site, so it was not asked for.`);
  }
  const missing = (why: string, cause?: unknown): AppError =>
    new AppError('sample/missing', `The sample ${path} could not be read.`, {
      why,
      fix: 'Check that the site is reachable, then try again. Rows of your own can be pasted without it.',
      cause,
    });
  let reply: Response;
  try {
    reply = await fetch(url, { credentials: 'omit', referrerPolicy: 'no-referrer', redirect: 'error' });
  } catch (cause) {
    throw missing('The site did not answer.', cause);
  }
  if (!reply.ok) throw missing(`The site answered with status ${reply.status}.`);
  return reply.text();
}
