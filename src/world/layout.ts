// The chat layout of the bundled model: <bos><system>...<end><user>...<end><assistant>...<end>, and rows of it for training.
import { chance, type Draw } from './draw.ts';
import { documentOf, type Phase } from './mixture.ts';
import type { WorldDocument } from './types.ts';

/** The 16 reserved tokens, ids 0 to 15 in this order. */
export const SPECIALS: readonly string[] = [
  '<pad>',
  '<bos>',
  '<system>',
  '<user>',
  '<assistant>',
  '<end>',
  '<tool>',
  ...Array.from({ length: 9 }, (_, i) => `<spare${i + 1}>`),
];
const id = (name: string): number => SPECIALS.indexOf(name);
const BOS = id('<bos>');
const END = id('<end>');
const ROLE = { system: id('<system>'), user: id('<user>'), assistant: id('<assistant>') } as const;

/** As transformers and the app fill it in. */
export const CHAT_TEMPLATE =
  "{{ bos_token }}{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] + '<end>' }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";

/** The same for a program that takes the vocabulary without its normalizer, as llama.cpp does: a space in front of each text and behind some marks. By
 *  `split` and `join`, which the small template engines have. */
export const spacedTemplate = (marks: readonly string[]): string => {
  const quoted = (text: string): string => `'${text.replace('\n', '\\n')}'`;
  const spaced = marks.reduce(
    (text, mark) => `(${text}.split(${quoted(mark)}) | join(${quoted(`${mark} `)}))`,
    "(' ' + message['content'])",
  );
  return `{{ bos_token }}{% for message in messages %}{{ '<' + message['role'] + '>' }}{% if message['content'] %}{{ ${spaced} }}{% endif %}{{ '<end>' }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}`;
};

/** Ids of a text as the tokenizer gives them; `raw`: the text brings its own space in front. */
export type Encode = (text: string, raw: boolean) => readonly number[];

/** Ids and the weight of the loss on each, in the order of the text. */
export interface EncodedDocument {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
  /** The end may be cut off: what is left still teaches something. */
  readonly cuttable: boolean;
}

/** `rest` is the weight on what the assistant does not say. */
export function encodeDocument(document: WorldDocument, encode: Encode, rest = 0): EncodedDocument {
  const ids: number[] = [BOS];
  const weights: number[] = [0];
  let answers = 0;
  for (const turn of document.turns) {
    if (turn.role !== 'text') {
      ids.push(ROLE[turn.role]);
      weights.push(rest);
    }
    for (const one of encode(turn.content, turn.role === 'text')) {
      ids.push(one);
      weights.push(turn.role === 'assistant' ? turn.weight : Math.max(rest, turn.weight));
    }
    if (turn.role !== 'text') {
      ids.push(END);
      weights.push(Math.max(rest, turn.endWeight));
    }
    if (turn.role === 'assistant') answers++;
  }
  return { ids, weights, cuttable: answers !== 1 };
}

/** Rows of `length + 1` ids, each full of documents. */
export interface Rows {
  readonly ids: Uint16Array;
  readonly weights: Float32Array;
  /** Which document of the row a token belongs to: attention stays inside. */
  readonly document: Uint8Array;
}
const TRIES = 6;
const REST_WEIGHT = 0.2;

/** `count` packed rows. A document with one answer is never cut: it waits for the next row, and the rest of the row gets a shorter one or padding. */
export function packRows(draw: Draw, phase: Phase, count: number, encode: Encode): Rows {
  const width = phase.length + 1;
  const rows: Rows = {
    ids: new Uint16Array(count * width),
    weights: new Float32Array(count * width),
    document: new Uint8Array(count * width),
  };
  const make = (): EncodedDocument => encodeDocument(documentOf(phase, draw), encode, chance(draw, phase.restShare) ? REST_WEIGHT : 0);
  let waiting: EncodedDocument | undefined;
  for (let row = 0; row < count; row++) {
    let at = 0;
    let number = 0;
    for (let tries = 0; at < width && tries < TRIES; ) {
      // A document that waits opens the next row, where it fits.
      const document = at === 0 && waiting !== undefined ? waiting : make();
      if (document === waiting) waiting = undefined;
      if (document.ids.length > width - at && !document.cuttable) {
        if (document.ids.length <= width) waiting ??= document;
        tries++;
        continue;
      }
      at = place(rows, row * width, at, width, document, number++);
    }
    // Padding is a document of its own, and nothing is learned from it.
    rows.document.fill(255, row * width + at, (row + 1) * width);
  }
  return rows;
}

function place(rows: Rows, start: number, at: number, width: number, { ids, weights }: EncodedDocument, number: number): number {
  const n = Math.min(ids.length, width - at);
  for (let i = 0; i < n; i++) {
    rows.ids[start + at + i] = ids[i];
    rows.weights[start + at + i] = weights[i];
    rows.document[start + at + i] = number;
  }
  return at + n;
}
