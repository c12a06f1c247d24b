import { booleanAt, numbersAt, stringAt, wholeAt } from './gguf-metadata.ts';
import type { GgufValue } from './gguf-types.ts';

const CONTROL = 3;

/** Tokens that end a reply, the file's own end token first: those it names, and in a SentencePiece vocabulary whose texts begin with a control token that
 *  token itself. What comes after it is the next document (models trained on texts one behind the other write no other end between them), so nothing
 *  that belongs to the reply is lost; a folder says the same in generation_config.json, for which a GGUF has no place. In a byte-level vocabulary the
 *  begin token often begins a turn, not a text, so there only what the file names counts. */
export function ggufStops(metadata: ReadonlyMap<string, GgufValue>, V: number): readonly number[] {
  const id = (key: string): number | undefined => wholeAt(metadata, `tokenizer.ggml.${key}`, 0, Math.max(0, V - 1));
  const spm = stringAt(metadata, 'tokenizer.ggml.model') === 'llama';
  const begin = id('bos_token_id') ?? (spm ? 1 : undefined);
  const types = numbersAt(metadata, 'tokenizer.ggml.token_type') ?? [];
  const begins = spm && (booleanAt(metadata, 'tokenizer.ggml.add_bos_token') ?? true) && begin !== undefined && types[begin] === CONTROL;
  const stops = [id('eos_token_id') ?? (spm ? 2 : undefined), id('eot_token_id'), id('eom_token_id'), begins ? begin : undefined];
  return [...new Set(stops.filter((stop) => stop !== undefined))];
}
