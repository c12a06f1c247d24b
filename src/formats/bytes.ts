import { AppError } from '../lib/error.ts';
import type { ByteSource } from './types.ts';

/** Bytes in memory as a source. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return { name, size: bytes.length, read: (start, end) => Promise.resolve(bytes.subarray(start, end)) };
}

/** Bytes [start, end) of a source, all of them. @throws 'format/truncated' where the file ends earlier, also when it was cut after it was chosen. */
export async function readRange(source: ByteSource, start: number, end: number): Promise<Uint8Array> {
  if (end > source.size) throw truncated(source.name, end, source.size);
  if (start === end) return new Uint8Array(0);
  const bytes = await source.read(start, end);
  if (bytes.length !== end - start) throw truncated(source.name, end, start + bytes.length);
  return bytes;
}

export function truncated(name: string, needed: number, size: number): AppError {
  return new AppError('format/truncated', `${name} ends too early: ${groups(needed)} bytes are needed and it has ${groups(size)}.`, {
    why: 'The download or the copy of this file stopped before its end.',
    fix: 'Get the file again and compare its size with the one shown where it comes from.',
    facts: { file: name, needed, size },
  });
}

/** A whole number with thin spaces between groups of three. */
export function groups(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+(?!\d))/g, '\u2009');
}

/** The name without its folders. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** 16-bit words over little-endian bytes: a view where the bytes are aligned, else of a copy. */
export function words16(bytes: Uint8Array, count: number): Uint16Array {
  const b = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice(0, count * 2);
  return new Uint16Array(b.buffer, b.byteOffset, count);
}

/** f32 numbers over little-endian bytes: a view where the bytes are aligned, else of a copy. */
export function floats32(bytes: Uint8Array, count: number): Float32Array {
  const b = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice(0, count * 4);
  return new Float32Array(b.buffer, b.byteOffset, count);
}

/** The bytes under a typed array, not copied. */
export function bytesOf(array: Float32Array | Uint16Array | Uint32Array | Int32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A text file: strict UTF-8. @throws 'format/text' */
export function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new AppError('format/text', `${name} is not a UTF-8 text.`, {
      why: 'Some of its bytes mean nothing in UTF-8.',
      fix: 'Get the file again; it may be damaged or another kind of file.',
      cause,
      facts: { file: name },
    });
  }
}
