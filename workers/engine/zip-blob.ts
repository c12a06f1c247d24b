// A .zip of files that lie on the disk, without reading any of them into memory as a whole: their bytes stay where they are, as parts of one Blob. Stored, not
// packed (weights do not pack). PKWARE APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16.
import { AppError } from '../../src/lib/error.ts';

export interface ZipEntry {
  /** With folders: "model/params_shard_0.bin". */
  readonly name: string;
  readonly content: Blob | Uint8Array<ArrayBuffer> | string;
}

/** Offsets and sizes are 32 bits. */
const MOST_BYTES = 2 ** 32 - 1;
const PIECE_BYTES = 4 * 2 ** 20;
/** Names are UTF-8. */
const FLAGS = 0x0800;
const VERSION = 20;
/** 2000-01-01, 12:00: the same files give the same bytes. */
const [DATE, TIME] = [(20 << 9) | (1 << 5) | 1, 12 << 11];
const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;

const blobOf = ({ content }: ZipEntry): Blob => (content instanceof Blob ? content : new Blob([content]));
const nameOf = ({ name }: ZipEntry): Uint8Array<ArrayBuffer> => new TextEncoder().encode(name);

/** Bytes of the archive, before it is made. */
export function zipBytes(entries: readonly { readonly name: string; readonly bytes: number }[]): number {
  return entries.reduce(
    (sum, { name, bytes }) => sum + bytes + LOCAL_BYTES + CENTRAL_BYTES + 2 * new TextEncoder().encode(name).length,
    END_BYTES,
  );
}

/** Every file is read once, in pieces, for its sum. @throws 'export/too-large', and what reading the files throws */
export async function zipOf(entries: readonly ZipEntry[]): Promise<Blob> {
  const bytes = zipBytes(entries.map((entry) => ({ name: entry.name, bytes: blobOf(entry).size })));
  if (bytes > MOST_BYTES)
    throw new AppError('export/too-large', `The export has ${bytes} bytes; a .zip file as it is written here holds ${MOST_BYTES}.`, {
      fix: 'Take a smaller model, or one of 4 bits.',
      facts: { bytes },
    });
  const parts: BlobPart[] = [];
  const central: BlobPart[] = [];
  let at = 0;
  for (const entry of entries) {
    const blob = blobOf(entry);
    const name = nameOf(entry);
    const crc = await crc32(blob);
    const fields = [VERSION, FLAGS, 0, TIME, DATE] as const;
    const header = new DataView(new ArrayBuffer(LOCAL_BYTES));
    header.setUint32(0, 0x04034b50, true);
    for (const [i, value] of fields.entries()) header.setUint16(4 + 2 * i, value, true);
    const record = new DataView(new ArrayBuffer(CENTRAL_BYTES));
    record.setUint32(0, 0x02014b50, true);
    record.setUint16(4, VERSION, true);
    for (const [i, value] of fields.entries()) record.setUint16(6 + 2 * i, value, true);
    for (const [view, from] of [[header, 14] as const, [record, 16] as const]) {
      view.setUint32(from, crc, true);
      view.setUint32(from + 4, blob.size, true);
      view.setUint32(from + 8, blob.size, true);
      view.setUint16(from + 12, name.length, true);
    }
    record.setUint32(42, at, true);
    parts.push(header.buffer, name, blob);
    central.push(record.buffer, name);
    at += LOCAL_BYTES + name.length + blob.size;
  }
  const listBytes = entries.reduce((sum, entry) => sum + CENTRAL_BYTES + nameOf(entry).length, 0);
  const end = new DataView(new ArrayBuffer(END_BYTES));
  end.setUint32(0, 0x06054b50, true);
  for (const place of [8, 10]) end.setUint16(place, entries.length, true);
  end.setUint32(12, listBytes, true);
  end.setUint32(16, at, true);
  return new Blob([...parts, ...central, end.buffer], { type: 'application/zip' });
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let c = byte;
  for (let bit = 0; bit < 8; bit++) c = (c & 1) === 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});
async function crc32(blob: Blob): Promise<number> {
  let c = 0xffffffff;
  for (let at = 0; at < blob.size; at += PIECE_BYTES) {
    const piece = new Uint8Array(await blob.slice(at, at + PIECE_BYTES).arrayBuffer());
    for (let i = 0; i < piece.length; i++) c = TABLE[(c ^ piece[i]) & 255] ^ (c >>> 8);
  }
  return (c ^ 0xffffffff) >>> 0;
}
