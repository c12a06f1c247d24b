// A model library of MLC (.wasm), read and not run: TVM embeds what `_metadata()` returns as JSON text in the data of the module, and the names of its
// functions beside it. So shapes, types and functions are known before any of its code is.
import * as v from 'valibot';
import { AppError } from '../lib/error.ts';
import { baseName, groups, readRange } from './bytes.ts';
import { shown } from './json.ts';
import type { MlcTensor } from './mlc-index.ts';
import type { ByteSource } from './types.ts';

/** Libraries are a few megabytes. */
const MAX_BYTES = 256 * 2 ** 20;
/** The metadata of the largest models is below a megabyte. */
const MAX_METADATA = 16 * 2 ** 20;

const whole = v.pipe(v.number(), v.safeInteger());
const Metadata = v.looseObject({
  model_type: v.string(),
  quantization: v.string(),
  context_window_size: v.nullish(whole),
  sliding_window_size: v.nullish(whole),
  prefill_chunk_size: v.nullish(whole),
  max_batch_size: v.nullish(whole),
  kv_state_kind: v.nullish(v.string()),
  memory_usage: v.nullish(v.record(v.string(), v.number())),
  params: v.pipe(v.array(v.looseObject({ name: v.string(), shape: v.array(whole), dtype: v.string() })), v.minLength(1)),
});

export interface MlcLibrary {
  readonly name: string;
  readonly metadata: v.InferOutput<typeof Metadata>;
  /** Functions that it asks the page for, "module.name". */
  readonly imports: readonly string[];
  /** Of the functions that web-llm looks up, those whose names it holds. */
  readonly functions: ReadonlySet<string>;
}

/** What web-llm 0.2.86 looks up when it loads a model, and what drives it by token ids. */
export const NEEDED_FUNCTIONS = [
  'embed',
  'prefill',
  'decode',
  'create_tir_paged_kv_cache',
  'softmax_with_temperature',
  'argsort_probs',
  'sample_with_top_p',
  'apply_logit_bias_inplace',
  'apply_penalty_inplace',
  'apply_bitmask_inplace',
  '_metadata',
] as const;

/** What the JavaScript of web-llm 0.2.86 answers when a library asks for it: TVM's own functions and emscripten's, each under both modules. */
export const PROVIDED_IMPORTS: ReadonlySet<string> = new Set(
  [
    ...['TVMFFIWasmSafeCall', 'TVMFFIWasmFunctionDeleter', 'emscripten_notify_memory_growth', '__cxa_thread_atexit', '__console_log'],
    ...['clock_time_get', 'environ_get', 'environ_sizes_get', 'fd_close', 'fd_read', 'fd_seek', 'fd_write', 'proc_exit'],
  ].flatMap((name) => [`env.${name}`, `wasi_snapshot_preview1.${name}`]),
);

/** Where both are there, they do instead of `prefill` and `decode`. */
const BATCHED = ['batch_prefill', 'batch_decode'] as const;

/** Reads sections by their stated lengths; nothing is compiled or run.
 *  @throws 'mlc/library-not-wasm', 'mlc/library-too-large', 'mlc/library-no-metadata', 'format/truncated' */
export async function readMlcLibrary(file: ByteSource): Promise<MlcLibrary> {
  if (file.size > MAX_BYTES)
    throw new AppError(
      'mlc/library-too-large',
      `${baseName(file.name)} has ${groups(file.size)} bytes; a model library has a few million.`,
      {
        fix: 'Choose the .wasm file of this model.',
        facts: { file: file.name, bytes: file.size },
      },
    );
  const bytes = await readRange(file, 0, file.size);
  const sections = readSections(bytes, file.name);
  const imports = sections.flatMap(({ id, start, end }) => (id === 2 ? readImports(bytes.subarray(start, end), file.name) : []));
  const data = sections.filter(({ id }) => id === 11).map(({ start, end }) => bytes.subarray(start, end));
  const metadata = data.map(findMetadata).find((found) => found !== undefined);
  if (metadata === undefined)
    throw new AppError('mlc/library-no-metadata', `${baseName(file.name)} is WebAssembly, and no model library: it describes no model.`, {
      why: 'A model library holds the shapes of its model as text, under the name _metadata.',
      fix: 'Choose the .wasm file that was built for this model.',
      facts: { file: file.name },
    });
  const functions = new Set<string>([...NEEDED_FUNCTIONS, ...BATCHED].filter((name) => data.some((part) => holdsName(part, name))));
  return { name: file.name, metadata, imports, functions };
}

/** Does a library fit the shards beside it? `provides` are the imports that web-llm answers: a library of another version asks for others.
 *  @throws 'mlc/library-shape', 'mlc/library-function', 'mlc/library-version' */
export function checkMlcLibrary(
  library: MlcLibrary,
  index: { readonly tensors: ReadonlyMap<string, Pick<MlcTensor, 'shape' | 'dtype'>> },
  provides: ReadonlySet<string> = PROVIDED_IMPORTS,
): void {
  const name = baseName(library.name);
  const strange = library.imports.find((wanted) => !provides.has(wanted));
  if (strange !== undefined)
    throw new AppError('mlc/library-version', `${name} was built for another version of web-llm: it asks for ${shown(strange)}.`, {
      why: 'Libraries and web-llm fit only version by version; this app holds 0.2.86.',
      fix: 'Get the library of version 0.2.86 (its folder is called v0_2_86), or build one. Until then the model runs in our engine.',
      facts: { import: strange },
    });
  const batched = BATCHED.every((known) => library.functions.has(known));
  const lacking = NEEDED_FUNCTIONS.filter(
    (needed) => !library.functions.has(needed) && !(batched && (needed === 'prefill' || needed === 'decode')),
  );
  if (lacking.length > 0)
    throw new AppError(
      'mlc/library-function',
      `${name} lacks the ${lacking.length === 1 ? 'function' : 'functions'} ${lacking.join(', ')}.`,
      {
        why: `Web-llm 0.2.86 looks ${lacking.length === 1 ? 'it' : 'them'} up when a model is loaded.`,
        fix: 'Get the library of version 0.2.86 (its folder is called v0_2_86), or build one. Until then the model runs in our engine.',
        facts: { missing: lacking.join(', ') },
      },
    );
  for (const { name: tensor, shape, dtype } of library.metadata.params) {
    const found = index.tensors.get(tensor);
    if (found === undefined) throw otherShape(name, `it asks for ${shown(tensor)}, which the shards lack`);
    if (found.dtype !== dtype) throw otherShape(name, `${shown(tensor)} is ${dtype} in it and ${found.dtype} in the shards`);
    if (found.shape.length !== shape.length || found.shape.some((dim, i) => dim !== shape[i]))
      throw otherShape(name, `${shown(tensor)} is [${shape.join(', ')}] in it and [${found.shape.join(', ')}] in the shards`);
  }
  const asked = new Set(library.metadata.params.map((param) => param.name));
  const spare = [...index.tensors.keys()].find((tensor) => !asked.has(tensor));
  if (spare !== undefined) throw otherShape(name, `the shards have ${shown(spare)}, which it does not use`);
}

function otherShape(name: string, what: string): AppError {
  return new AppError('mlc/library-shape', `${name} was built for another model: ${what}.`, {
    why: 'Layers, widths, vocabulary and quantization are compiled into a library.',
    fix: 'Get the library of this model and this quantization, or build one. Until then the model runs in our engine.',
  });
}

interface Section {
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

function readSections(bytes: Uint8Array, name: string): readonly Section[] {
  const magic = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  if (magic.some((byte, i) => bytes[i] !== byte)) throw notWasm(name, 'its first 8 bytes are not those of WebAssembly 1');
  const sections: Section[] = [];
  let at = 8;
  while (at < bytes.length) {
    const id = bytes[at];
    const [size, start] = readNumber(bytes, at + 1, name);
    if (id > 13 || start + size > bytes.length) throw notWasm(name, 'a section ends behind the end of the file');
    sections.push({ id, start, end: start + size });
    at = start + size;
  }
  return sections;
}

/** An unsigned LEB128 number of 32 bits, and where it ends. */
function readNumber(bytes: Uint8Array, at: number, name: string): readonly [value: number, next: number] {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    if (at + i >= bytes.length) break;
    const byte = bytes[at + i];
    value += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) return [value, at + i + 1];
  }
  throw notWasm(name, 'a number in it does not end');
}

function readImports(bytes: Uint8Array, name: string): readonly string[] {
  let at = 0;
  const number = (): number => {
    const [value, next] = readNumber(bytes, at, name);
    at = next;
    return value;
  };
  const text = (): string => {
    const length = number();
    if (at + length > bytes.length) throw notWasm(name, 'a name in it does not end');
    at += length;
    return new TextDecoder().decode(bytes.subarray(at - length, at));
  };
  const limits = (): void => {
    const flags = number();
    number();
    if ((flags & 1) === 1) number();
  };
  const found: string[] = [];
  for (let left = number(); left > 0; left--) {
    const wanted = `${text()}.${text()}`;
    const kind = number();
    if (kind === 0) {
      number();
      found.push(wanted);
    } else if (kind === 1) {
      at += 1;
      limits();
    } else if (kind === 2) limits();
    else if (kind === 3) at += 2;
    else throw notWasm(name, 'an import in it is of no known kind');
  }
  return found;
}

function notWasm(name: string, what: string): AppError {
  return new AppError('mlc/library-not-wasm', `${baseName(name)} is no WebAssembly file: ${what}.`, {
    why: 'The download stopped before its end, or a page was saved instead of the file.',
    fix: 'Get the file again from where it came.',
    facts: { file: name },
  });
}

/** The JSON object with `"params"` whose text begins nearest before `"model_type"`. */
function findMetadata(data: Uint8Array): MlcLibrary['metadata'] | undefined {
  const mark = new TextEncoder().encode('"model_type"');
  for (let at = indexOf(data, mark, 0); at >= 0; at = indexOf(data, mark, at + 1)) {
    const start = data.lastIndexOf(0x7b, at);
    const end = start < 0 ? -1 : endOfObject(data, start);
    if (end < 0) continue;
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder().decode(data.subarray(start, end)));
    } catch {
      continue; // another text that happens to name a model_type
    }
    const parsed = v.safeParse(Metadata, value);
    if (parsed.success) return parsed.output;
  }
  return undefined;
}

/** One past the brace that closes the one at `start`; -1 where there is none. Braces within strings do not count. */
function endOfObject(data: Uint8Array, start: number): number {
  let depth = 0;
  let quoted = false;
  const last = Math.min(data.length, start + MAX_METADATA);
  for (let i = start; i < last; i++) {
    const byte = data[i];
    if (quoted) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) quoted = false;
    } else if (byte === 0x22) quoted = true;
    else if (byte === 0x7b) depth++;
    else if (byte === 0x7d && --depth === 0) return i + 1;
  }
  return -1;
}

/** The name stands in the data by itself: after its length in 64 bits, as TVM stores names, or with nothing that is text on either side. Texts name functions too:
 *  the keys of the metadata, and what is said of an argument that does not fit ("ErrorContext(fn=prefill, ..."). */
function holdsName(data: Uint8Array, name: string): boolean {
  const wanted = new TextEncoder().encode(name);
  const isText = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x20;
  const length = [wanted.length, 0, 0, 0, 0, 0, 0, 0];
  for (let at = indexOf(data, wanted, 0); at >= 0; at = indexOf(data, wanted, at + 1)) {
    if (length.every((byte, i) => data[at - 8 + i] === byte)) return true;
    if (!isText(data[at - 1]) && !isText(data[at + wanted.length])) return true;
  }
  return false;
}

function indexOf(data: Uint8Array, wanted: Uint8Array, from: number): number {
  for (let at = data.indexOf(wanted[0], from); at >= 0; at = data.indexOf(wanted[0], at + 1)) {
    let i = 1;
    while (i < wanted.length && data[at + i] === wanted[i]) i++;
    if (i === wanted.length) return at;
  }
  return -1;
}
