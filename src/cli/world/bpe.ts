// Byte-level byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909; bytes as in GPT-2): learning the merges, and encoding with a memory for words.
import type { Encode } from '../../world/layout.ts';

/** GPT-2's letters for the 256 bytes: printable ones stand for themselves, the others for letters from 256 on. */
export const BYTE_LETTERS: readonly string[] = (() => {
  const letters: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    letters.push(String.fromCharCode(printable ? byte : next++));
  }
  return letters;
})();
const utf8 = new TextEncoder();
const spell = (text: string): string => Array.from(utf8.encode(text), (byte) => BYTE_LETTERS[byte]).join('');

const openers = /[\n[({"]/g;
const pieces = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** The pieces of a text that are encoded one by one, digits each alone, as tokenizer.json describes it. `raw`: no space is put in front. */
export function pretokens(text: string, raw: boolean): string[] {
  if (text === '') return [];
  const spaced = (raw ? text : ` ${text}`).replace(openers, '$& ');
  return spaced.split(/(\p{Nd})/u).flatMap((part) => part.match(pieces) ?? []);
}

export interface Bpe {
  /** Tokens in the order of their ids, those that are not special: bytes, then what the merges make. */
  readonly tokens: readonly string[];
  readonly merges: readonly (readonly [left: string, right: string])[];
}

/** `merges` merges out of how often each piece is met. Of pairs met equally often the first in alphabetical order wins, so the result has one value. */
export function learnMerges(counts: ReadonlyMap<string, number>, merges: number): Bpe {
  const words = [...counts].map(([piece, count]) => ({ parts: [...spell(piece)], count }));
  const made: (readonly [string, string])[] = [];
  const tokens = [...BYTE_LETTERS].sort();
  const known = new Set(tokens);
  while (made.length < merges) {
    const pairs = new Map<string, number>();
    for (const { parts, count } of words)
      for (let i = 0; i + 1 < parts.length; i++) {
        const key = `${parts[i]} ${parts[i + 1]}`;
        pairs.set(key, (pairs.get(key) ?? 0) + count);
      }
    let best = '';
    let most = 0;
    for (const [key, count] of pairs)
      if (count > most || (count === most && key < best)) {
        best = key;
        most = count;
      }
    if (best === '') break;
    const [left, right] = best.split(' ');
    made.push([left, right]);
    if (!known.has(left + right)) tokens.push(left + right);
    known.add(left + right);
    for (const word of words) join(word.parts, left, right);
  }
  return { tokens, merges: made };
}

function join(parts: string[], left: string, right: string): void {
  for (let i = 0; i + 1 < parts.length; i++) if (parts[i] === left && parts[i + 1] === right) parts.splice(i, 2, left + right);
}

/** Encodes as tokenizer.json says. `vocab` gives the ids. */
export function encoder(vocab: ReadonlyMap<string, number>, merges: Bpe['merges']): Encode {
  const rank = new Map(merges.map(([left, right], i) => [`${left} ${right}`, i]));
  const known = new Map<string, readonly number[]>();
  const encodePiece = (piece: string): readonly number[] => {
    const parts = [...spell(piece)];
    for (;;) {
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i + 1 < parts.length; i++) best = Math.min(best, rank.get(`${parts[i]} ${parts[i + 1]}`) ?? Number.POSITIVE_INFINITY);
      if (best === Number.POSITIVE_INFINITY) break;
      join(parts, ...merges[best]);
    }
    return parts.map((part) => vocab.get(part) ?? 0);
  };
  return (text, raw) =>
    pretokens(text, raw).flatMap((piece) => {
      let ids = known.get(piece);
      if (ids === undefined) {
        ids = encodePiece(piece);
        known.set(piece, ids);
      }
      return ids;
    });
}
