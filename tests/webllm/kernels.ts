// The text of a library's kernels, as it lies in the data of the module.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';

const here = import.meta.dirname;
/** Every committed library, by name. */
export const LIBRARIES: Readonly<Record<string, string>> = {
  'llama-q0f32': path.join(here, 'libraries/llama-q0f32.wasm.gz'),
  'llama-q4f32_1': path.join(here, 'libraries/llama-q4f32_1.wasm.gz'),
  'stories260k-q0f32': path.join(here, 'libraries/stories260k-q0f32.wasm.gz'),
  'vale-micro-q0f32-software': path.join(here, '../../public/models/vale-micro/webllm/vale-micro-q0f32-software.wasm.gz'),
  'vale-micro-q0f32-gpu': path.join(here, '../../public/models/vale-micro/webllm/vale-micro-q0f32-gpu.wasm.gz'),
};

export function kernelsOf(library: string): ReadonlyMap<string, string> {
  const text = gunzipSync(readFileSync(LIBRARIES[library])).toString('latin1');
  const starts = [...text.matchAll(/\/\/ Function: (\w+)\n/g)];
  // Behind a kernel's last brace lies what describes the next one.
  const end = (start: number, next: number): number => text.lastIndexOf('}', Math.min(next, text.indexOf('\0', start))) + 1;
  return new Map(starts.map((start, n) => [start[1], text.slice(start.index, end(start.index, starts[n + 1]?.index ?? text.length))]));
}

/** Indices of bindings by name. */
export const bindingsOf = (text: string): ReadonlyMap<string, number> =>
  new Map([...text.matchAll(/@binding\((\d+)\) var<[^>]*> (\w+)/g)].map(([, index, name]) => [name, Number(index)]));
