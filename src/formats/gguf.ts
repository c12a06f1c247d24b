// Reading GGUF v2 and v3. Counts and lengths in the file are u64 and come from a stranger: each is checked against what the file can hold before
// anything is allocated, and products are taken in BigInt, since a wrapped product has let files through elsewhere (CVE-2025-53630, CVE-2026-27940).
import { AppError } from '../lib/error.ts';
import { groups, readRange, truncated } from './bytes.ts';
import {
  type GgufElementType,
  type GgufHeader,
  type GgufNumberType,
  type GgufTensorInfo,
  type GgufValue,
  TENSOR_TYPES,
  VALUE_BYTES,
  VALUE_TYPES,
} from './gguf-types.ts';
import { shown } from './json.ts';
import type { ByteSource } from './types.ts';

const MAX_HEADER = 256 * 2 ** 20; // bytes; the largest vocabularies take about 10 MB
const MAX_KEYS = 65_536;
const MAX_TENSORS = 100_000;
const MAX_ELEMENTS = 8_388_608; // of one array; the largest known have half a million
const MAX_KEY = 65_535; // bytes, as the format says
const MAX_NAME = 63; // bytes, as llama.cpp reads them
const MAX_DIMS = 4;
const MAX_ALIGNMENT = 2 ** 20;

/** The header reaches past the bytes at hand: read more and start again. Never leaves this file. */
class NeedsMore {
  readonly end: number;
  constructor(end: number) {
    this.end = end;
  }
}

/** Read and check a file's header, in a few reads of growing size; the data is not touched.
 *  @throws 'format/truncated', 'format/header', 'format/too-large', 'format/overlap', 'format/duplicate-name', 'format/unsupported-dtype' */
export async function readGgufHeader(source: ByteSource): Promise<GgufHeader> {
  let length = Math.min(source.size, 256 * 1024);
  for (;;) {
    const bytes = await readRange(source, 0, length);
    try {
      return parse(bytes, source.name, source.size);
    } catch (error) {
      if (!(error instanceof NeedsMore)) throw error;
      length = Math.min(source.size, Math.max(4 * length, error.end));
    }
  }
}

/** The header of a file in memory. @throws as readGgufHeader */
export function parseGguf(bytes: Uint8Array, name = 'the GGUF file'): GgufHeader {
  return parse(bytes, name, bytes.length);
}

/** One tensor's bytes. */
export function readGgufTensor(source: ByteSource, info: GgufTensorInfo): Promise<Uint8Array> {
  return readRange(source, info.start, info.end);
}

/** Is this the beginning of a GGUF file? */
export function isGguf(firstBytes: Uint8Array): boolean {
  return firstBytes[0] === 0x47 && firstBytes[1] === 0x47 && firstBytes[2] === 0x55 && firstBytes[3] === 0x46;
}

function parse(bytes: Uint8Array, file: string, size: number): GgufHeader {
  const r = reader(bytes, file, size);
  if (size < 24) throw truncated(file, 24, size);
  if (!isGguf(bytes))
    throw r.bad('it does not begin with the letters GGUF', 'This is another kind of file, or a web page saved in place of the file.');
  r.skip(4);
  const version = r.u32();
  if (version === 0x03000000 || version === 0x02000000)
    throw r.bad('it is written big-endian', 'Only little-endian files are read here; nearly all are.');
  if (version !== 2 && version !== 3)
    throw r.bad(`its version is ${version}; 2 and 3 are read`, 'Convert the model again with a current llama.cpp.');
  // A tensor takes at least 32 bytes of header and a key at least 13.
  const tensorCount = r.count('tensors', MAX_TENSORS, 32);
  const keyCount = r.count('keys', MAX_KEYS, 13);

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = r.string(MAX_KEY, 'a key');
    if (metadata.has(key)) throw duplicate(file, 'key', key);
    metadata.set(key, r.value(key));
  }
  const alignment = alignmentOf(metadata, r.bad);

  const raw: { readonly name: string; readonly shape: readonly number[]; readonly type: number; readonly offset: bigint }[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const name = r.string(MAX_NAME, "a tensor's name");
    if (names.has(name)) throw duplicate(file, 'tensor', name);
    names.add(name);
    const axes = r.u32();
    if (axes > MAX_DIMS) throw r.bad(`the tensor ${shown(name)} has ${groups(axes)} axes; at most ${MAX_DIMS} are read`);
    const shape: number[] = [];
    for (let a = 0; a < axes; a++) {
      const dim = r.u64();
      if (dim > BigInt(Number.MAX_SAFE_INTEGER)) throw r.bad(`a size of the tensor ${shown(name)} is ${dim}`);
      shape.unshift(Number(dim));
    }
    raw.push({ name, shape, type: r.u32(), offset: r.u64() });
  }
  const dataStart = Math.ceil(r.at() / alignment) * alignment;
  const tensors = new Map<string, GgufTensorInfo>();
  for (const tensor of raw) tensors.set(tensor.name, place(tensor, file, size, alignment, dataStart, r.bad));
  refuseOverlaps(tensors, file);
  return { version, metadata, tensors, alignment, dataStart };
}

type Bad = (what: string, why?: string) => AppError;

function place(
  tensor: { readonly name: string; readonly shape: readonly number[]; readonly type: number; readonly offset: bigint },
  file: string,
  size: number,
  alignment: number,
  dataStart: number,
  bad: Bad,
): GgufTensorInfo {
  const { name, shape } = tensor;
  const type = TENSOR_TYPES.get(tensor.type);
  if (type === undefined)
    throw new AppError('format/unsupported-dtype', `In ${file} the tensor ${shown(name)} has the unknown type ${tensor.type}.`, {
      why: 'The file is damaged or was written by a newer program.',
      fix: 'Choose a file of type F32, F16, BF16, Q8_0, Q4_0 or Q4_1.',
      facts: { file, tensor: name, type: tensor.type },
    });
  const row = shape.length === 0 ? 1 : shape[shape.length - 1];
  if (row % type.weights !== 0)
    throw bad(`the rows of ${shown(name)} have ${groups(row)} weights, which do not fill blocks of ${type.weights} (${type.name})`);
  let count = 1n;
  for (const dim of shape) count *= BigInt(dim);
  const bytes = (count / BigInt(type.weights)) * BigInt(type.bytes);
  if (tensor.offset % BigInt(alignment) !== 0n) throw bad(`the data of ${shown(name)} does not start at a multiple of ${alignment} bytes`);
  const end = BigInt(dataStart) + tensor.offset + bytes;
  if (end > BigInt(Number.MAX_SAFE_INTEGER)) throw bad(`the tensor ${shown(name)} claims ${bytes} bytes`);
  if (end > BigInt(size)) throw truncated(file, Number(end), size);
  const start = dataStart + Number(tensor.offset);
  return { name, shape, type, start, end: Number(end) };
}

function refuseOverlaps(tensors: ReadonlyMap<string, GgufTensorInfo>, file: string): void {
  const sorted = [...tensors.values()].sort((a, b) => a.start - b.start || a.end - b.end);
  for (let i = 1; i < sorted.length; i++) {
    if (sorted[i].start >= sorted[i - 1].end) continue;
    throw new AppError('format/overlap', `In ${file} the tensors ${shown(sorted[i - 1].name)} and ${shown(sorted[i].name)} share bytes.`, {
      why: 'Tensors must lie apart; overlaps are how a file is made to mean two things.',
      fix: 'Do not use this file. Get the model from its own page.',
      facts: { file, tensor: sorted[i].name },
    });
  }
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>, bad: Bad): number {
  const entry = metadata.get('general.alignment');
  if (entry === undefined) return 32;
  const { value } = entry;
  if (entry.type !== 'u32' || typeof value !== 'number' || value < 1 || value > MAX_ALIGNMENT || (value & (value - 1)) !== 0)
    throw bad(`general.alignment is ${String(value).slice(0, 20)}; it must be a power of two up to ${groups(MAX_ALIGNMENT)}`);
  return value;
}

function duplicate(file: string, kind: 'key' | 'tensor', name: string): AppError {
  return new AppError('format/duplicate-name', `${file} has the ${kind} ${shown(name)} twice.`, {
    why: 'Programs differ in which of the two they take, so such a file can mean two things.',
    fix: 'Get the file from another source, or write it again with the program that made it.',
    facts: { file, name },
  });
}

interface Reader {
  at(): number;
  skip(bytes: number): void;
  u32(): number;
  u64(): bigint;
  count(what: string, cap: number, leastBytes: number): number;
  string(maxBytes: number, what: string): string;
  value(key: string): GgufValue;
  readonly bad: Bad;
}

/** A cursor over the first bytes of a file of `size` bytes. */
function reader(bytes: Uint8Array, file: string, size: number): Reader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let at = 0;

  const bad: Bad = (what, why = 'The file is damaged, or the program that wrote it made a mistake.') =>
    new AppError('format/header', `The header of ${file} is wrong: ${what}.`, {
      why,
      fix: 'Get the file again from where it came. Nothing was loaded.',
      facts: { file, position: at },
    });
  const take = (n: number): number => {
    const end = at + n;
    if (end > size) throw truncated(file, end, size);
    if (end > MAX_HEADER) throw bad(`it is longer than ${groups(MAX_HEADER)} bytes`);
    if (end > bytes.length) throw new NeedsMore(end);
    const start = at;
    at = end;
    return start;
  };
  const u64 = (): bigint => view.getBigUint64(take(8), true);
  const safe = (n: bigint): number => {
    if (n > BigInt(Number.MAX_SAFE_INTEGER) || n < -BigInt(Number.MAX_SAFE_INTEGER))
      throw bad(`it holds the number ${n}, which is out of range`);
    return Number(n);
  };
  const count = (what: string, cap: number, leastBytes: number): number => {
    const n = u64();
    if (n * BigInt(leastBytes) > BigInt(size - at)) throw bad(`it claims ${n} ${what} and has ${groups(size - at)} bytes left for them`);
    if (n > BigInt(cap)) throw bad(`it claims ${n} ${what}; at most ${groups(cap)} are read`);
    return Number(n);
  };
  const text = (length: number): string => {
    const start = take(length);
    try {
      return decoder.decode(bytes.subarray(start, at));
    } catch {
      // Vocabularies of other kinds may hold broken text; a lossy reading keeps the file readable and is refused later where it matters.
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(start, at));
    }
  };
  const string = (maxBytes: number, what: string): string => {
    const length = u64();
    if (length > BigInt(size - at)) throw bad(`${what} claims ${length} bytes and ${groups(size - at)} are left`);
    if (length > BigInt(maxBytes)) throw bad(`${what} has ${length} bytes; at most ${groups(maxBytes)} are read`);
    return text(Number(length));
  };
  const number = (type: GgufNumberType): number => {
    const start = take(VALUE_BYTES[type]);
    switch (type) {
      case 'u8':
        return view.getUint8(start);
      case 'i8':
        return view.getInt8(start);
      case 'u16':
        return view.getUint16(start, true);
      case 'i16':
        return view.getInt16(start, true);
      case 'u32':
        return view.getUint32(start, true);
      case 'i32':
        return view.getInt32(start, true);
      case 'f32':
        return view.getFloat32(start, true);
      case 'f64':
        return view.getFloat64(start, true);
      case 'u64':
        return safe(view.getBigUint64(start, true));
      case 'i64':
        return safe(view.getBigInt64(start, true));
    }
  };
  const bool = (key: string): boolean => {
    const byte = view.getUint8(take(1));
    if (byte > 1) throw bad(`the value of ${shown(key)} is neither true nor false`);
    return byte === 1;
  };
  const valueType = (key: string): GgufElementType | 'array' => {
    const id = view.getUint32(take(4), true);
    const type = VALUE_TYPES[id];
    if (type === undefined) throw bad(`the value of ${shown(key)} has the unknown type ${id}`);
    return type;
  };
  const value = (key: string): GgufValue => {
    const type = valueType(key);
    if (type === 'string') return { type, value: string(MAX_HEADER, `the value of ${shown(key)}`) };
    if (type === 'bool') return { type, value: bool(key) };
    if (type !== 'array') return { type, value: number(type) };
    const of = valueType(key);
    if (of === 'array') throw bad(`the value of ${shown(key)} is an array of arrays`, 'No reader of models takes nested arrays.');
    const n = count(`elements of ${shown(key)}`, MAX_ELEMENTS, VALUE_BYTES[of]);
    if (of === 'string') {
      const value: string[] = [];
      for (let i = 0; i < n; i++) value.push(string(MAX_HEADER, `an element of ${shown(key)}`));
      return { type, of, value };
    }
    if (of === 'bool') {
      const value: boolean[] = [];
      for (let i = 0; i < n; i++) value.push(bool(key));
      return { type, of, value };
    }
    const value: number[] = [];
    for (let i = 0; i < n; i++) value.push(number(of));
    return { type, of, value };
  };
  return { at: () => at, skip: (n) => void take(n), u32: () => view.getUint32(take(4), true), u64, count, string, value, bad };
}
