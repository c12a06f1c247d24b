// safetensors: u64 length N, N bytes of JSON, data. https://github.com/huggingface/safetensors, `safetensors/src/tensor.rs`: its reader's rules hold
// here, with tighter caps, since a file in this app comes from anywhere: nothing is allocated by what a header claims, and the tensors tile the data
// exactly, so that no byte is read twice and none is hidden.
import { AppError } from '../lib/error.ts';
import { decodeText, floats32, groups, readRange, truncated, words16 } from './bytes.ts';
import { brainsToFloats, halvesToFloats } from './half.ts';
import { isJsonMap, type JsonValue, parseJson, shown } from './json.ts';
import type { ByteSource } from './types.ts';

/** Bits of one element. */
const DTYPE_BITS: ReadonlyMap<string, number> = new Map([
  ...['BOOL', 'U8', 'I8', 'F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ'].map((d) => [d, 8] as const),
  ...['U16', 'I16', 'F16', 'BF16'].map((d) => [d, 16] as const),
  ...['U32', 'I32', 'F32'].map((d) => [d, 32] as const),
  ...['U64', 'I64', 'F64', 'C64'].map((d) => [d, 64] as const),
  ['F4', 4],
  ['F6_E2M3', 6],
  ['F6_E3M2', 6],
]);

const CAPS = {
  model: { headerBytes: 100_000_000, tensors: 100_000 },
  adapter: { headerBytes: 8_000_000, tensors: 5_000 },
} as const;
const MAX_NAME = 256;
const MAX_RANK = 8;

/** Where a tensor lies: [start, end) in bytes from the beginning of the file. Shape slowest axis first; [] is one number. */
export interface SafetensorsInfo {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}
export interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>;
  /** By name, in the order of the data. */
  readonly tensors: ReadonlyMap<string, SafetensorsInfo>;
}
/** A tensor with its bytes, dtype as the format writes it ("F32"). */
export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}
export interface SafetensorsFile {
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
  /** What is well formed but should be told: tensors with NaN or infinity. */
  readonly warnings: readonly string[];
}

/** Read and check a file's header; the data is not touched.
 *  @throws 'format/truncated', 'format/header', 'format/too-large', 'format/overlap', 'format/duplicate-name', 'format/unsupported-dtype' */
export async function readSafetensorsHeader(source: ByteSource, kind: 'model' | 'adapter' = 'model'): Promise<SafetensorsHeader> {
  if (source.size < 8) throw truncated(source.name, 8, source.size);
  const length = headerLength(await readRange(source, 0, 8), source.name, source.size, kind);
  return parseHeader(await readRange(source, 8, 8 + length), source.name, source.size, kind);
}

/** One tensor's bytes. */
export function readSafetensorsTensor(source: ByteSource, info: SafetensorsInfo): Promise<Uint8Array> {
  return readRange(source, info.start, info.end);
}

/** A whole small file. The tensors' bytes are views of `bytes`. @throws as readSafetensorsHeader */
export function readSafetensors(bytes: Uint8Array, name = 'the safetensors file', kind: 'model' | 'adapter' = 'model'): SafetensorsFile {
  if (bytes.length < 8) throw truncated(name, 8, bytes.length);
  const length = headerLength(bytes.subarray(0, 8), name, bytes.length, kind);
  const header = parseHeader(bytes.subarray(8, 8 + length), name, bytes.length, kind);
  const tensors = new Map<string, SafetensorsTensor>();
  const warnings: string[] = [];
  for (const info of header.tensors.values()) {
    const tensor = { name: info.name, dtype: info.dtype, shape: info.shape, bytes: bytes.subarray(info.start, info.end) };
    tensors.set(info.name, tensor);
    const bad = nonFinite(tensor);
    if (bad > 0) warnings.push(`${shown(info.name)} holds ${groups(bad)} numbers that are NaN or infinite.`);
  }
  return { metadata: header.metadata, tensors, warnings };
}

function headerLength(first8: Uint8Array, name: string, size: number, kind: 'model' | 'adapter'): number {
  const claimed = new DataView(first8.buffer, first8.byteOffset, 8).getBigUint64(0, true);
  const cap = CAPS[kind].headerBytes;
  if (claimed > BigInt(cap))
    throw new AppError('format/too-large', `${name} claims a header of ${groupsBig(claimed)} bytes; at most ${groups(cap)} are read.`, {
      why: 'A header this long is either damage, another kind of file, or made to fill the memory.',
      fix: 'Check that this is a safetensors file and get it again.',
      facts: { file: name, headerBytes: String(claimed), cap },
    });
  const length = Number(claimed);
  if (8 + length > size) throw truncated(name, 8 + length, size);
  if (length < 2) throw badHeader(name, 'its header is empty');
  return length;
}

function groupsBig(n: bigint): string {
  return n <= BigInt(Number.MAX_SAFE_INTEGER) ? groups(Number(n)) : String(n);
}

function badHeader(name: string, what: string, facts: Readonly<Record<string, string | number>> = {}): AppError {
  return new AppError('format/header', `The header of ${name} is wrong: ${what}.`, {
    why: 'The file is damaged, or the program that wrote it made a mistake.',
    fix: 'Get the file again from where it came. Nothing was loaded.',
    facts: { file: name, ...facts },
  });
}

function parseHeader(json: Uint8Array, name: string, size: number, kind: 'model' | 'adapter'): SafetensorsHeader {
  if (json[0] !== 0x7b) throw badHeader(name, 'it does not begin with {');
  let root: JsonValue;
  try {
    root = parseJson(decodeText(json, name), { name: `the header of ${name}`, maxDepth: 8, wholeNumbers: true });
  } catch (cause) {
    if (cause instanceof AppError && cause.code === 'format/duplicate-name') throw cause;
    throw new AppError('format/header', `The header of ${name} cannot be read: it is not UTF-8 JSON.`, {
      why: cause instanceof Error ? cause.message : '',
      fix: 'Check that this is a safetensors file and get it again.',
      cause,
      facts: { file: name },
    });
  }
  if (!isJsonMap(root)) throw badHeader(name, 'it is not an object');
  if (root.size > CAPS[kind].tensors + 1)
    throw badHeader(name, `it lists ${groups(root.size)} tensors; at most ${groups(CAPS[kind].tensors)} are read`, { tensors: root.size });

  const dataStart = 8 + json.length;
  const metadata = new Map<string, string>();
  const infos: SafetensorsInfo[] = [];
  for (const [key, value] of root) {
    if (key === '__metadata__') {
      if (value === null) continue;
      if (!isJsonMap(value)) throw badHeader(name, '__metadata__ is not an object');
      for (const [k, v] of value) {
        if (typeof v !== 'string') throw badHeader(name, `the value of ${shown(k)} in __metadata__ is not a text`);
        metadata.set(k, v);
      }
    } else infos.push(parseInfo(key, value, name, dataStart, size));
  }

  infos.sort((a, b) => a.start - b.start || a.end - b.end);
  let end = dataStart;
  for (const info of infos) {
    if (info.start !== end) {
      const what =
        info.start < end
          ? `overlaps the tensor before it by ${groups(end - info.start)}`
          : `leaves a hole before it of ${groups(info.start - end)}`;
      throw new AppError('format/overlap', `In ${name} the tensor ${shown(info.name)} ${what} bytes.`, {
        why: 'Tensors must lie end to end; overlaps and holes are how a file is made to mean two things or to hide data.',
        fix: 'Do not use this file. Get the model from its own page.',
        facts: { file: name, tensor: info.name },
      });
    }
    end = info.end;
  }
  if (end > size) throw truncated(name, end, size);
  if (end < size)
    throw new AppError('format/overlap', `${name} has ${groups(size - end)} bytes after its last tensor.`, {
      why: 'Data that no tensor covers does not belong in this format.',
      fix: 'Do not use this file. Get it again from its own page.',
      facts: { file: name, extraBytes: size - end },
    });
  return { metadata, tensors: new Map(infos.map((info) => [info.name, info])) };
}

function parseInfo(tensor: string, value: JsonValue, name: string, dataStart: number, size: number): SafetensorsInfo {
  const label = shown(tensor);
  if (tensor.length > MAX_NAME) throw badHeader(name, `a tensor's name has ${tensor.length} characters; at most ${MAX_NAME} are read`);
  if (!isJsonMap(value)) throw badHeader(name, `the entry of ${label} is not an object`);
  const dtype = value.get('dtype');
  const shape = value.get('shape');
  const offsets = value.get('data_offsets');
  if (typeof dtype !== 'string') throw badHeader(name, `${label} has no dtype`);
  const bits = DTYPE_BITS.get(dtype);
  if (bits === undefined)
    throw new AppError(
      'format/unsupported-dtype',
      `In ${name} the tensor ${label} has the number type ${shown(dtype)}, which is not known here.`,
      {
        fix: 'Convert the file to F32, F16 or BF16 with the program that made it.',
        facts: { file: name, tensor, dtype },
      },
    );
  if (!Array.isArray(shape)) throw badHeader(name, `${label} has no shape`);
  if (shape.length > MAX_RANK) throw badHeader(name, `${label} has ${shape.length} axes; at most ${MAX_RANK} are read`);
  if (!Array.isArray(offsets) || offsets.length !== 2) throw badHeader(name, `${label} has no data_offsets`);

  const dims: number[] = [];
  let count = 1;
  for (const dim of shape) {
    if (typeof dim !== 'number' || !Number.isSafeInteger(dim))
      throw badHeader(name, `a size of ${label} is not a whole number from 0 to 2^53 - 1`);
    dims.push(dim);
    count *= dim;
    if (count > Number.MAX_SAFE_INTEGER / 64) throw badHeader(name, `${label} claims more numbers than any file can hold`);
  }
  const [begin, end] = offsets;
  if (typeof begin !== 'number' || typeof end !== 'number' || !Number.isSafeInteger(begin) || !Number.isSafeInteger(end))
    throw badHeader(name, `the data_offsets of ${label} are not whole numbers from 0 to 2^53 - 1`);
  if (end < begin) throw badHeader(name, `${label} ends before it starts`);
  const needed = (count * bits) / 8;
  if (needed !== end - begin)
    throw badHeader(
      name,
      `${label} of type ${dtype} and shape [${dims.join(', ')}] takes ${groups(needed)} bytes and has ${groups(end - begin)}`,
      {
        tensor,
        needed,
        bytes: end - begin,
      },
    );
  if (!Number.isSafeInteger(dataStart + end)) throw truncated(name, end, size);
  return { name: tensor, dtype, shape: dims, start: dataStart + begin, end: dataStart + end };
}

/** All numbers of a tensor in f64, so that every type but 64-bit integers above 2^53 is exact. */
export function tensorNumbers(tensor: SafetensorsTensor): Float64Array {
  const { dtype, bytes } = tensor;
  if (dtype === 'F32' || dtype === 'F16' || dtype === 'BF16') return Float64Array.from(tensorFloats(tensor));
  // A copy of its own, whatever kind of view it is: slice() of a Buffer of Node is no copy.
  const b = new Uint8Array(bytes);
  const wide = (values: BigInt64Array | BigUint64Array): Float64Array => Float64Array.from(values, Number);
  if (dtype === 'F64') return new Float64Array(b.buffer);
  if (dtype === 'I64') return wide(new BigInt64Array(b.buffer));
  if (dtype === 'U64') return wide(new BigUint64Array(b.buffer));
  if (dtype === 'I32') return Float64Array.from(new Int32Array(b.buffer));
  if (dtype === 'U32') return Float64Array.from(new Uint32Array(b.buffer));
  if (dtype === 'I16') return Float64Array.from(new Int16Array(b.buffer));
  if (dtype === 'U16') return Float64Array.from(new Uint16Array(b.buffer));
  if (dtype === 'I8') return Float64Array.from(new Int8Array(b.buffer));
  if (dtype === 'U8' || dtype === 'BOOL') return Float64Array.from(b);
  throw unsupportedNumbers(tensor);
}

/** The numbers of an F32, F16 or BF16 tensor. Aligned F32 is a view of the file's bytes. @throws 'format/unsupported-dtype' */
export function tensorFloats(tensor: SafetensorsTensor): Float32Array {
  const { dtype, bytes } = tensor;
  if (dtype === 'F32') return floats32(bytes, bytes.length / 4);
  if (dtype === 'F16') return halvesToFloats(words16(bytes, bytes.length / 2));
  if (dtype === 'BF16') return brainsToFloats(words16(bytes, bytes.length / 2));
  throw unsupportedNumbers(tensor);
}

function unsupportedNumbers(tensor: SafetensorsTensor): AppError {
  return new AppError(
    'format/unsupported-dtype',
    `The tensor ${shown(tensor.name)} has the number type ${tensor.dtype}; F32, F16 and BF16 are read here.`,
    {
      fix: 'Convert the file to F32, F16 or BF16 with the program that made it.',
      facts: { tensor: tensor.name, dtype: tensor.dtype },
    },
  );
}

function nonFinite(tensor: SafetensorsTensor): number {
  const { dtype } = tensor;
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16' && dtype !== 'F64') return 0;
  const values = dtype === 'F64' ? tensorNumbers(tensor) : tensorFloats(tensor);
  let bad = 0;
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) bad++;
  return bad;
}

/** A safetensors file. Tensors are ordered as the reference writer does, widest element first, then by name; the data starts on 8 bytes, so every
 *  tensor is aligned. The same tensors give the same bytes. @throws 'format/header' where bytes and shape disagree. */
export function writeSafetensors(tensors: Iterable<SafetensorsTensor>, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const bitsOf = (tensor: SafetensorsTensor): number => DTYPE_BITS.get(tensor.dtype) ?? 0;
  const sorted = [...tensors].sort((a, b) => bitsOf(b) - bitsOf(a) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const entries: string[] = [];
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) entries.push(`"__metadata__":{${keys.map((k) => `${JSON.stringify(k)}:${JSON.stringify(metadata[k])}`).join(',')}}`);
  let end = 0;
  const names = new Set<string>();
  for (const tensor of sorted) {
    const count = tensor.shape.reduce((product, dim) => product * dim, 1);
    if ((count * bitsOf(tensor)) / 8 !== tensor.bytes.length)
      throw badHeader('the new file', `${shown(tensor.name)} has bytes of another size than its shape`);
    if (names.has(tensor.name)) throw badHeader('the new file', `the name ${shown(tensor.name)} stands twice`);
    names.add(tensor.name);
    const start = end;
    end += tensor.bytes.length;
    entries.push(
      `${JSON.stringify(tensor.name)}:{"dtype":${JSON.stringify(tensor.dtype)},"shape":[${tensor.shape.join(',')}],"data_offsets":[${start},${end}]}`,
    );
  }
  const header = new TextEncoder().encode(`{${entries.join(',')}}`);
  const padded = Math.ceil(header.length / 8) * 8;
  const out = new Uint8Array(8 + padded + end).fill(0x20, 8 + header.length, 8 + padded);
  new DataView(out.buffer).setBigUint64(0, BigInt(padded), true);
  out.set(header, 8);
  let at = 8 + padded;
  for (const tensor of sorted) {
    out.set(tensor.bytes, at);
    at += tensor.bytes.length;
  }
  return out;
}
