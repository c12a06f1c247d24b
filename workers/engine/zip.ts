// Zip archives from strangers, read as a stream with caps, and archives of ours, stored without packing.
import { Unzip, UnzipInflate, zipSync } from 'fflate';
import { AppError } from '../../src/lib/error.ts';

/** Caps of reliability.md section 3, row 5. */
const MAX_BYTES = 2_000_000_000;
const MAX_ENTRIES = 10_000;
const MAX_RATIO = 200;
/** A small text packs well: the ratio is only looked at beyond this. */
const RATIO_FROM_BYTES = 1_000_000;
const CHUNK_BYTES = 256 * 1024;

const refuse = (why: string, facts: Record<string, string | number> = {}): AppError =>
  new AppError('zip/refused', 'This .zip file was not opened.', {
    why,
    fix: 'Unpack it with another program, look at what is inside, and choose the files themselves.',
    facts,
  });

export interface ZipLimits {
  readonly bytes: number;
  readonly entries: number;
}

/** The entries whose bare name is wanted, by that name; folders inside the archive are ignored. What is packed is never trusted: sizes are counted as
 *  the bytes come. @throws 'zip/refused', 'zip/damaged' */
export async function readZip(
  archive: Blob,
  wanted: (name: string) => boolean,
  limits: ZipLimits = { bytes: MAX_BYTES, entries: MAX_ENTRIES },
): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  let failure: AppError | undefined;
  let entries = 0;
  let total = 0;
  let complete = 0;
  const unzip = new Unzip((entry) => {
    if (++entries > limits.entries) {
      failure ??= refuse(`It has more than ${limits.entries} entries.`);
      return;
    }
    const name = entry.name.slice(Math.max(entry.name.lastIndexOf('/'), entry.name.lastIndexOf('\\')) + 1);
    if (name === '' || !wanted(name)) return;
    if (files.has(name)) {
      failure ??= refuse(`It holds ${name} twice.`);
      return;
    }
    files.set(name, new Uint8Array(0));
    const pieces: Uint8Array[] = [];
    let size = 0;
    entry.ondata = (error, piece, last) => {
      if (failure !== undefined) return;
      if (error !== null) {
        failure = damaged(`${name}: ${error.message}`, error);
        return;
      }
      size += piece.length;
      total += piece.length;
      if (total > limits.bytes) failure = refuse(`Unpacked it is larger than ${limits.bytes} bytes.`, { bytes: total });
      else if (size > RATIO_FROM_BYTES && entry.size !== undefined && size > MAX_RATIO * entry.size) {
        failure = refuse(`${name} unpacks to more than ${MAX_RATIO} times its size.`, { packed: entry.size, unpacked: size });
      } else if (entry.originalSize !== undefined && size > entry.originalSize) {
        failure = damaged(`${name} is longer than its ${entry.originalSize} bytes.`);
      }
      if (failure !== undefined) {
        entry.terminate?.();
        return;
      }
      pieces.push(piece);
      if (last) {
        if (entry.originalSize !== undefined && size !== entry.originalSize)
          failure = damaged(`${name} is shorter than its ${entry.originalSize} bytes.`);
        files.set(name, joined(pieces, size));
        complete++;
      }
    };
    entry.start();
  });
  unzip.register(UnzipInflate);
  for (let at = 0; at < archive.size && failure === undefined; at += CHUNK_BYTES) {
    const piece = new Uint8Array(await archive.slice(at, at + CHUNK_BYTES).arrayBuffer());
    try {
      unzip.push(piece, at + CHUNK_BYTES >= archive.size);
    } catch (error) {
      failure ??= damaged(error instanceof Error ? error.message : String(error), error);
    }
  }
  if (failure === undefined && entries === 0) failure = damaged('It has no entries.');
  if (failure === undefined && complete !== files.size) failure = damaged('It ends in the middle of a file.');
  if (failure !== undefined) throw failure;
  return files;
}

function damaged(why: string, cause?: unknown): AppError {
  return new AppError('zip/damaged', 'This .zip file is damaged.', { why, fix: 'Get it again, or choose the unpacked files.', cause });
}
function joined(pieces: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** The same files give the same bytes: no time of day goes in. */
export function writeZip(files: ReadonlyMap<string, Uint8Array>): Uint8Array {
  return zipSync(Object.fromEntries(files), { level: 0, mtime: new Date('2000-01-01T12:00:00Z') });
}
