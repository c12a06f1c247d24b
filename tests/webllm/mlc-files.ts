// A model as web-llm takes it, for the tests: turned into MLC's layout by the project's own writer, or shards as they lie in a folder.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { memorySource } from '../../src/formats/bytes.ts';
import { type MlcWritten, mlcChatConfig, mlcTokenizerFiles, writeMlc } from '../../src/formats/mlc-write.ts';
import { openModel } from '../../src/formats/open-model.ts';
import { readSafetensors, tensorNumbers } from '../../src/formats/safetensors.ts';
import type { Packed } from './unpack.ts';

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const read = (file: string): Uint8Array => new Uint8Array(readFileSync(file));

export const library = (name: string): string => base64(read(path.resolve(import.meta.dirname, `libraries/${name}.wasm.gz`)));
/** A library of the model that the site opens with. */
export const siteLibrary = (model: string, name: string): string =>
  base64(read(path.resolve(import.meta.dirname, `../../public/models/${model}/webllm/${model}-${name}.wasm.gz`)));

function fromFiles(id: string, files: ReadonlyMap<string, Uint8Array>, libraryGzip: string): Packed {
  const file = (name: string): string => base64(files.get(name) ?? new Uint8Array());
  const shards = [...files].filter(([name]) => name.endsWith('.bin')).map(([name, bytes]) => ({ name, base64: base64(bytes) }));
  return {
    id,
    chatConfig: file('mlc-chat-config.json'),
    index: file('tensor-cache.json'),
    tokenizer: file('tokenizer.json'),
    shards,
    libraryGzip,
  };
}

/** A model of the project as q0f32: the same numbers; or rounded to 4 bits. `names` are those of its files. */
export async function packed(folder: string, names: RegExp, libraryGzip: string, quantization: MlcWritten = 'q0f32'): Promise<Packed> {
  const found = readdirSync(folder).filter((name) => names.test(name));
  const source = await openModel(found.map((name) => memorySource(name, read(path.join(folder, name)))));
  const files = new Map<string, Uint8Array>();
  for await (const { name, bytes } of writeMlc(source, { quantization, floats: 'f32' })) files.set(name, bytes);
  for (const { name, bytes } of [mlcChatConfig(source, quantization), ...mlcTokenizerFiles(source.tokenizer)]) files.set(name, bytes);
  return fromFiles(path.basename(folder), files, libraryGzip);
}

/** A folder of shards as it lies there. */
export function packedShards(folder: string, libraryGzip: string): Packed {
  const files = readdirSync(folder).map((name) => [name, read(path.join(folder, name))] as const);
  return fromFiles(path.basename(folder), new Map(files), libraryGzip);
}

/** Numbers of a fixture's safetensors, by name. */
export function numbers(file: string, name: string): Float64Array {
  const tensor = readSafetensors(read(file)).tensors.get(name);
  if (tensor === undefined) throw new Error(`${file} has no ${name}`);
  return tensorNumbers(tensor);
}
const shared = path.resolve(import.meta.dirname, '../../../shared/fixtures');
/** A fixture beside the project, where it is there. */
export const beside = (name: string): string | undefined => (existsSync(path.join(shared, name)) ? path.join(shared, name) : undefined);
