import { AppError } from '../lib/error.ts';
import type { GgufValue } from './gguf-types.ts';
import { shown } from './json.ts';

type Metadata = ReadonlyMap<string, GgufValue>;

/** A metadata value of the wrong kind, or none where one is needed. */
export function badKey(key: string, what: string): AppError {
  return new AppError('model/config', `The GGUF file's key ${shown(key)} ${what}.`, {
    why: 'The file was written for another program, or it is damaged.',
    fix: 'Convert the model again with a current llama.cpp, or choose another file.',
    facts: { key },
  });
}

export function stringAt(metadata: Metadata, key: string): string | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type !== 'string') throw badKey(key, 'is not a text');
  return entry.value;
}

export function booleanAt(metadata: Metadata, key: string): boolean | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type !== 'bool') throw badKey(key, 'is neither true nor false');
  return entry.value;
}

export function numberAt(metadata: Metadata, key: string): number | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type === 'array') throw badKey(key, 'is a list, which means layers of different sizes; one size for all is computed here');
  if (typeof entry.value !== 'number') throw badKey(key, 'is not a number');
  return entry.value;
}

/** A whole number from `min` to `max`. @throws 'model/config' */
export function wholeAt(metadata: Metadata, key: string, min: number, max: number): number | undefined {
  const n = numberAt(metadata, key);
  if (n !== undefined && !(Number.isSafeInteger(n) && n >= min && n <= max))
    throw badKey(key, `is ${n}; a whole number from ${min} to ${max} is needed`);
  return n;
}

export function stringsAt(metadata: Metadata, key: string): readonly string[] | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type !== 'array' || entry.of !== 'string') throw badKey(key, 'is not a list of texts');
  return entry.value;
}

export function numbersAt(metadata: Metadata, key: string): readonly number[] | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type !== 'array' || entry.of === 'string' || entry.of === 'bool') throw badKey(key, 'is not a list of numbers');
  return entry.value;
}

/** The shortest decimal that is the same f32: 1e-5 for the f32 that prints as 0.000009999999747378752. */
export function shortFloat(x: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(x.toPrecision(digits));
    if (Math.fround(short) === Math.fround(x)) return short;
  }
  return x;
}
