import { AppError } from '../lib/error.ts';
import { type GgufElementType, type GgufTensor, type GgufValue, tensorType, VALUE_BYTES, VALUE_TYPES } from './gguf-types.ts';
import { shown } from './json.ts';

/** A GGUF v3 file. Keys and tensors stand in the order given, so the same input gives the same bytes; `general.alignment` is obeyed where it is
 *  among the keys (default 32). @throws 'format/header' where a tensor's bytes and shape disagree. */
export function writeGguf(metadata: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensor[]): Uint8Array {
  const given = metadata.get('general.alignment')?.value;
  const alignment = typeof given === 'number' ? given : 32;
  const aligned = (n: number): number => Math.ceil(n / alignment) * alignment;
  const out = writer();
  out.bytes(new Uint8Array([0x47, 0x47, 0x55, 0x46]));
  out.u32(3);
  out.u64(tensors.length);
  out.u64(metadata.size);
  for (const [key, value] of metadata) {
    out.string(key);
    putValue(out, value);
  }
  let offset = 0;
  const names = new Set<string>();
  for (const tensor of tensors) {
    const type = tensorType(tensor.type);
    const count = tensor.shape.reduce((product, dim) => product * dim, 1);
    const row = tensor.shape[tensor.shape.length - 1] ?? 1;
    if (row % type.weights !== 0 || (count / type.weights) * type.bytes !== tensor.bytes.length)
      throw new AppError(
        'format/header',
        `The tensor ${shown(tensor.name)} has bytes of another size than its shape and type ${tensor.type}.`,
      );
    if (names.has(tensor.name)) throw new AppError('format/header', `The tensor ${shown(tensor.name)} stands twice in the new file.`);
    names.add(tensor.name);
    out.string(tensor.name);
    out.u32(tensor.shape.length);
    for (const dim of [...tensor.shape].reverse()) out.u64(dim);
    out.u32(type.id);
    out.u64(offset);
    offset += aligned(tensor.bytes.length);
  }
  const header = out.done();
  const start = aligned(header.length);
  const file = new Uint8Array(start + offset);
  file.set(header);
  let at = start;
  for (const tensor of tensors) {
    file.set(tensor.bytes, at);
    at += aligned(tensor.bytes.length);
  }
  return file;
}

interface Writer {
  bytes(bytes: Uint8Array): void;
  u32(n: number): void;
  u64(n: number): void;
  string(text: string): void;
  element(type: Exclude<GgufElementType, 'string'>, value: number | boolean): void;
  done(): Uint8Array;
}

function putValue(out: Writer, value: GgufValue): void {
  out.u32(VALUE_TYPES.indexOf(value.type));
  if (value.type === 'string') out.string(value.value);
  else if (value.type !== 'array') out.element(value.type, value.value);
  else {
    out.u32(VALUE_TYPES.indexOf(value.of));
    out.u64(value.value.length);
    if (value.of === 'string') for (const text of value.value) out.string(text);
    else for (const element of value.value) out.element(value.of, element);
  }
}

function writer(): Writer {
  let buffer = new Uint8Array(4096);
  let view = new DataView(buffer.buffer);
  let length = 0;
  const encoder = new TextEncoder();
  const grow = (n: number): number => {
    const at = length;
    length += n;
    if (length > buffer.length) {
      const larger = new Uint8Array(Math.max(2 * buffer.length, length));
      larger.set(buffer);
      buffer = larger;
      view = new DataView(buffer.buffer);
    }
    return at;
  };
  // `grow` may replace buffer and view, so it runs before they are used.
  const bytes = (b: Uint8Array): void => {
    const at = grow(b.length);
    buffer.set(b, at);
  };
  const u32 = (n: number): void => {
    const at = grow(4);
    view.setUint32(at, n, true);
  };
  const u64 = (n: number): void => {
    const at = grow(8);
    view.setBigUint64(at, BigInt(n), true);
  };
  const string = (text: string): void => {
    const b = encoder.encode(text);
    u64(b.length);
    bytes(b);
  };
  const element = (type: Exclude<GgufElementType, 'string'>, value: number | boolean): void => {
    const n = Number(value);
    const at = grow(VALUE_BYTES[type]);
    if (type === 'u8' || type === 'bool') view.setUint8(at, n);
    else if (type === 'i8') view.setInt8(at, n);
    else if (type === 'u16') view.setUint16(at, n, true);
    else if (type === 'i16') view.setInt16(at, n, true);
    else if (type === 'u32') view.setUint32(at, n, true);
    else if (type === 'i32') view.setInt32(at, n, true);
    else if (type === 'f32') view.setFloat32(at, n, true);
    else if (type === 'f64') view.setFloat64(at, n, true);
    else if (type === 'u64') view.setBigUint64(at, BigInt(n), true);
    else view.setBigInt64(at, BigInt(n), true);
  };
  return { bytes, u32, u64, string, element, done: () => buffer.slice(0, length) };
}
