import { AppError } from '../lib/error.ts';

export interface DecodedText {
  /** Without a byte order mark, lines ending in "\n". */
  readonly text: string;
  readonly encoding: 'UTF-8' | 'UTF-16' | 'Windows-1252';
}

/** What Windows-1252 has at 0x80 to 0x9F; elsewhere a byte is its own code point. Written out, since Node 20 decodes this name as Latin-1. */
const WINDOWS_1252 = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ';
function decodeWindows1252(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let start = 0; start < bytes.length; start += 8192) {
    const codes = Array.from(bytes.subarray(start, start + 8192), (byte) =>
      byte >= 0x80 && byte < 0xa0 ? WINDOWS_1252.charCodeAt(byte - 0x80) : byte,
    );
    parts.push(String.fromCharCode(...codes));
  }
  return parts.join('');
}

const startsWith = (bytes: Uint8Array, ...start: readonly number[]): boolean => start.every((byte, i) => bytes[i] === byte);

/** Line ends of every system become "\n"; a byte order mark goes. */
export const tidyText = (text: string): string => text.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n');

function notText(what: string, fix: string): AppError {
  return new AppError('data/not-text', what, { why: 'Rows are read from text: JSONL, JSON, CSV, TSV or a paste.', fix });
}

/** Share of 0 bytes at even (0) or odd (1) places of the first 4 kB. */
function zeros(bytes: Uint8Array, parity: 0 | 1): number {
  const end = Math.min(bytes.length, 4096);
  let count = 0;
  let zero = 0;
  for (let i = parity; i < end; i += 2) {
    count++;
    if (bytes[i] === 0) zero++;
  }
  return count === 0 ? 0 : zero / count;
}

/** Bytes of a text file to text: UTF-8, UTF-16 (by its mark, or by its zeros), else Windows-1252. @throws 'data/not-text' for a spreadsheet or other bytes */
export function decodeText(bytes: Uint8Array): DecodedText {
  if (startsWith(bytes, 0x50, 0x4b, 0x03, 0x04) || startsWith(bytes, 0xd0, 0xcf, 0x11, 0xe0)) {
    throw notText(
      'This file is a spreadsheet or an archive, not text.',
      'Open it in its program and save the sheet as CSV, or copy its cells and paste them here.',
    );
  }
  if (startsWith(bytes, 0x25, 0x50, 0x44, 0x46)) throw notText('This file is a PDF, not text.', 'Copy its text and paste it here.');
  const read = (label: string): string => tidyText(new TextDecoder(label).decode(bytes));
  if (startsWith(bytes, 0xff, 0xfe)) return { text: read('utf-16le'), encoding: 'UTF-16' };
  if (startsWith(bytes, 0xfe, 0xff)) return { text: read('utf-16be'), encoding: 'UTF-16' };
  const [even, odd] = [zeros(bytes, 0), zeros(bytes, 1)];
  if (odd > 0.4 && even < 0.1) return { text: read('utf-16le'), encoding: 'UTF-16' };
  if (even > 0.4 && odd < 0.1) return { text: read('utf-16be'), encoding: 'UTF-16' };
  if (even > 0.01 || odd > 0.01) throw notText('This file holds bytes that are not text.', 'Choose a JSONL, JSON, CSV or TSV file.');
  try {
    return { text: tidyText(new TextDecoder('utf-8', { fatal: true }).decode(bytes)), encoding: 'UTF-8' };
  } catch {
    // Not UTF-8, so an older program wrote it: each byte is a character there, and nothing can fail.
    return { text: tidyText(decodeWindows1252(bytes)), encoding: 'Windows-1252' };
  }
}
