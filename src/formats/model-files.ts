import { AppError } from '../lib/error.ts';
import { decodeText, groups, readRange } from './bytes.ts';
import { shown } from './json.ts';
import type { ByteSource } from './types.ts';

const MAX_JSON = 200_000_000;

/** A picked JSON file that must be an object. Names that stand twice follow JSON.parse: these files decide no memory layout.
 *  @throws 'format/json', 'format/too-large' */
export async function readJsonFile(file: ByteSource): Promise<object> {
  const text = await readTextFile(file, MAX_JSON);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AppError('format/json', `${file.name} is not valid JSON: ${cause instanceof Error ? cause.message : String(cause)}`, {
      why: 'The file is damaged, was cut, or is of another kind. A page saved instead of the file looks like this too.',
      fix: 'Get the file again from where it came.',
      cause,
      facts: { file: file.name },
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new AppError('format/json', `${file.name} is not a JSON object.`, {
      fix: 'Get the file again from where it came.',
      facts: { file: file.name },
    });
  return value;
}

export async function readTextFile(file: ByteSource, maxBytes: number): Promise<string> {
  if (file.size > maxBytes)
    throw new AppError('format/too-large', `${file.name} has ${groups(file.size)} bytes; at most ${groups(maxBytes)} are read.`, {
      why: 'A file of this kind is never that long.',
      fix: 'Check that it is the right file.',
      facts: { file: file.name, bytes: file.size, cap: maxBytes },
    });
  return decodeText(await readRange(file, 0, file.size), file.name);
}

/** A property of a parsed JSON object, own ones only. */
export function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined;
}

/** A hub id like `org/model`, or undefined for anything that may be a path on somebody's disk. */
export function hubId(name: unknown): string | undefined {
  return typeof name === 'string' && name.length <= 120 && /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/.test(name) ? name : undefined;
}

/** One past the highest token id that a parsed tokenizer.json can give. @throws 'model/tokenizer' */
export function tokenizerSize(json: object): number {
  const vocab = property(property(json, 'model'), 'vocab');
  if (typeof vocab !== 'object' || vocab === null)
    throw new AppError('model/tokenizer', 'tokenizer.json has no vocabulary.', {
      why: 'The file is damaged or is not the tokenizer of a language model.',
      fix: "Choose the tokenizer.json from the model's own folder.",
    });
  let top = Array.isArray(vocab) ? vocab.length - 1 : -1;
  const take = (id: unknown): void => {
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0)
      throw new AppError('model/tokenizer', `tokenizer.json has a token id that is not a whole number: ${shown(String(id))}.`, {
        fix: "Choose the tokenizer.json from the model's own folder.",
      });
    if (id > top) top = id;
  };
  if (!Array.isArray(vocab)) for (const id of Object.values(vocab)) take(id);
  const added = property(json, 'added_tokens');
  if (Array.isArray(added)) for (const token of added) take(property(token, 'id'));
  return top + 1;
}

/** A model may have some rows to spare (padding to a round number), never fewer than the tokenizer has ids. @throws 'model/tokenizer-mismatch' */
export function checkVocabulary(tokens: number, V: number): void {
  const spare = Math.max(63, Math.floor(V / 10));
  if (tokens <= V && V - tokens <= spare) return;
  throw new AppError(
    'model/tokenizer-mismatch',
    `The tokenizer has ${groups(tokens)} tokens and the model's vocabulary has ${groups(V)}. They are not of the same model.`,
    {
      why: 'Every token number would stand for another text than the one the model learned.',
      fix: 'Choose tokenizer.json and config.json from the same model folder.',
      facts: { tokenizer: tokens, model: V },
    },
  );
}
