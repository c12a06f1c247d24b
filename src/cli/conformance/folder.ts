import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import * as v from 'valibot';
import { readSafetensors, tensorNumbers } from '../../formats/safetensors.ts';
import type { ByteSource } from '../../formats/types.ts';

/** A tensor of a fixture, every number in f64. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Names of the folders inside, sorted; none where the folder is absent. */
export function subfolders(folder: string): string[] {
  return entries(folder).filter((name) => statSync(path.join(folder, name)).isDirectory());
}
/** Names of the files inside, sorted; none where the folder is absent. */
export function filesOf(folder: string): string[] {
  return entries(folder).filter((name) => statSync(path.join(folder, name)).isFile());
}
function entries(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

export function readBytes(file: string): Uint8Array {
  return new Uint8Array(readFileSync(file));
}
export function readTensors(file: string): Map<string, Numbers> {
  const { tensors } = readSafetensors(readBytes(file), path.basename(file));
  return new Map([...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, data: tensorNumbers(tensor) }]));
}
/** @throws where the file is not JSON of that shape, with the file's name */
export function readJson<T extends v.GenericSchema>(file: string, schema: T): v.InferOutput<T> {
  try {
    return v.parse(schema, JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new Error(`${path.basename(file)}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** A file on disk, read by slices as a picked one is. */
export function diskSource(file: string): ByteSource {
  return {
    name: path.basename(file),
    size: statSync(file).size,
    read: async (start, end) => {
      const handle = await open(file);
      try {
        const bytes = new Uint8Array(end - start);
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
        return bytes.subarray(0, bytesRead);
      } finally {
        await handle.close();
      }
    },
  };
}

export const ids = (tensor: Numbers): Uint32Array => Uint32Array.from(tensor.data);
/** (B, T) of a tensor of ids, which may be one row. */
export const rowsOf = ({ shape }: Numbers): readonly [B: number, T: number] => (shape.length === 1 ? [1, shape[0]] : [shape[0], shape[1]]);
