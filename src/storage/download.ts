// The only file of ours that calls `fetch`: samples and the bundled model, which lie beside the page itself.
import { AppError } from '../lib/error.ts';

interface Content {
  readonly bytes: number;
  readonly sha256: string;
}
/** A file of this site as it was when the site was built: its path relative to the page, its bytes and their SHA-256 (64 hex digits). */
export interface SiteFile extends Content {
  readonly path: string;
  /** What is inside of a .gz: some servers name it as an encoding, and then the browser opens it. */
  readonly opened?: Content;
}

/** The text of a file of this site, by its path relative to the page ("samples/reviews.jsonl"). @throws 'sample/missing', 'app/foreign-address' */
export async function fetchSample(path: string): Promise<string> {
  return (await ask(path, missingSample)).text();
}

/** A file of the bundled model, whole, with its hash checked. `onBytes` hears how many bytes have come. @throws 'download/missing', 'download/damaged', AbortError */
export async function fetchSiteFile(
  file: SiteFile,
  onBytes: (done: number) => void,
  signal: AbortSignal,
  what = 'The demo model',
): Promise<File> {
  const missing = (why: string, cause?: unknown): AppError =>
    new AppError('download/missing', `${what} could not be fetched from this site (${file.path}).`, {
      why,
      fix: 'Check that the site is reachable, then fetch it again. A model of your own can be added without it.',
      cause,
    });
  const reply = await ask(file.path, missing, signal);
  const expected = [file, ...(file.opened === undefined ? [] : [file.opened])];
  const bytes = new Uint8Array(Math.max(...expected.map((content) => content.bytes)));
  let done = 0;
  try {
    const reader = reply.body?.getReader();
    for (let piece = await reader?.read(); piece?.value !== undefined; piece = await reader?.read()) {
      // A longer file than was built is another file: the hash of what fits says so.
      bytes.set(piece.value.subarray(0, Math.max(0, bytes.length - done)), Math.min(done, bytes.length));
      done += piece.value.length;
      onBytes(Math.min(done, file.bytes));
    }
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw missing(`The connection ended after ${done} of ${file.bytes} bytes.`, cause);
  }
  const whole = bytes.subarray(0, done);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', whole));
  const found = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  if (!expected.some((content) => done === content.bytes && found === content.sha256)) {
    throw new AppError('download/damaged', `What came for ${file.path} is not the file that this site was built with.`, {
      why: `${done} bytes came and ${file.bytes} were expected; their SHA-256 was compared. A server or an extension changed it on the way, or the site is being renewed.`,
      fix: 'Nothing was kept. Reload the page, then fetch it again.',
      facts: { bytes: done, expected: file.bytes, sha256: found },
    });
  }
  return new File([whole], file.path.slice(file.path.lastIndexOf('/') + 1));
}

function missingSample(why: string, cause?: unknown): AppError {
  return new AppError('sample/missing', 'A sample of this site could not be read.', {
    why,
    fix: 'Check that the site is reachable, then try again. Rows of your own can be pasted without it.',
    cause,
  });
}

async function ask(path: string, missing: (why: string, cause?: unknown) => AppError, signal?: AbortSignal): Promise<Response> {
  const base = new URL('.', globalThis.location.href);
  const url = new URL(path, base);
  if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) {
    throw new AppError('app/foreign-address', `${path} is not a file of this site, so it was not asked for.`);
  }
  let reply: Response;
  try {
    reply = await fetch(url, {
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
      redirect: 'error',
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (cause) {
    if (signal?.aborted === true) throw cause;
    throw missing(`The site did not answer when it was asked for ${path}.`, cause);
  }
  if (!reply.ok) throw missing(`The site answered with status ${reply.status} when it was asked for ${path}.`);
  return reply;
}
