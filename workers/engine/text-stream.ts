import type { Tokenizer } from '../../src/text/types.ts';

/** Turns ids into text piece by piece: a character whose bytes are spread over several tokens comes when it is whole, and the pieces joined are the text
 *  of all ids. */
export interface TextStream {
  /** The text that became certain with this id; often empty. */
  push(id: number): string;
  /** What is left at the end, broken characters as U+FFFD. */
  end(): string;
  /** The text of all ids so far. */
  readonly text: string;
}

/** A broken character at the end of a text, which the next token may complete. A fourth token without a whole character is no UTF-8 any more. */
const LONGEST_CHARACTER_TOKENS = 4;

export function createTextStream(tokenizer: Pick<Tokenizer, 'decode'>): TextStream {
  const ids: number[] = [];
  // Only a window is decoded again: from the start of the last piece, since a tokenizer may write a token differently at the very start of a text.
  let windowStart = 0;
  let done = 0;
  let text = '';
  const advance = (last: boolean): string => {
    const before = tokenizer.decode(ids.slice(windowStart, done));
    const after = tokenizer.decode(ids.slice(windowStart));
    const broken = after.endsWith('\ufffd') && ids.length - done < LONGEST_CHARACTER_TOKENS;
    if ((broken && !last) || after.length <= before.length) return '';
    windowStart = done;
    done = ids.length;
    const piece = after.slice(before.length);
    text += piece;
    return piece;
  };
  return {
    push(id) {
      ids.push(id);
      return advance(false);
    },
    end: () => (done === ids.length ? '' : advance(true)),
    get text() {
      return text;
    },
  };
}
