// What a browser's storage refuses, as errors for people.
import { bytes as inWords } from '../lib/bytes.ts';
import { AppError } from '../lib/error.ts';

/** Any failure of IndexedDB or OPFS as an AppError. `bytes` is what was to be written, where that is known. */
export function asStorageError(error: unknown, bytes?: number): AppError {
  if (error instanceof AppError) return error;
  const name = error instanceof Error ? error.name : '';
  const why = error instanceof Error ? error.message : String(error);
  if (name === 'QuotaExceededError') return storageFull(bytes, error);
  if (name === 'VersionError') return newerVersion(error);
  if (name === 'InvalidStateError' || name === 'AbortError') {
    return new AppError('storage/closed', 'The browser closed the storage while it was in use.', {
      why: `Site data was cleared, or another tab took over. ${why}`,
      fix: 'Reload the page. What was saved before is still there, unless the site data was cleared.',
      cause: error,
    });
  }
  if (name === 'NoModificationAllowedError') {
    return new AppError('storage/in-use', 'Another tab is writing this file.', {
      why,
      fix: 'Wait until the other tab is done, or close it, then try again.',
      cause: error,
    });
  }
  if (name === 'NotFoundError') {
    return new AppError('storage/missing', 'A file that was kept in this browser is not there any more.', {
      why,
      fix: 'Choose the files of the model again, or import the adapter again.',
      cause: error,
    });
  }
  return new AppError('storage/failed', 'The browser could not read or write its storage.', {
    why,
    fix: 'Reload the page. In a private window, or with site data blocked, nothing can be kept: allow site data for this page.',
    cause: error,
  });
}

/** Not enough room. `bytes` is what was needed, `kept` what this site keeps already. */
export function storageFull(bytes: number | undefined, cause?: unknown, kept?: number): AppError {
  const needed = bytes === undefined ? 'What was to be saved' : inWords(bytes);
  return new AppError(
    'storage/full',
    `${needed} did not fit into the browser's storage${kept === undefined ? '' : `, where ${inWords(kept)} of this site are kept`}. Nothing that was saved before is lost.`,
    {
      why: 'The browser gives this page only so much room, and less when the disk is nearly full.',
      fix: 'Delete a model or an adapter on the Models screen, or free space on the disk, then try again.',
      facts: { ...(bytes === undefined ? {} : { bytesNeeded: bytes }), ...(kept === undefined ? {} : { bytesKept: kept }) },
      cause,
    },
  );
}

export function newerVersion(cause?: unknown): AppError {
  return new AppError('storage/newer', 'What is kept here was saved by a newer version of Maquette.', {
    why: 'Another tab, or an earlier visit, runs a newer version than this page.',
    fix: 'Reload this page to get the newer version.',
    cause,
  });
}

export function blockedByOtherTab(): AppError {
  return new AppError('storage/blocked', 'Another tab with an older version of Maquette is open.', {
    why: 'The storage is to be brought to the newer version, and the other tab still holds it.',
    fix: 'Close the other tab. This page goes on by itself.',
  });
}
