import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import { describe, expect, it } from 'vitest';
import { learnMerges, pretokens } from '../../src/cli/world/bpe.ts';
import { readEncoder } from '../../src/cli/world/tokenizer-files.ts';
import { configFromHuggingFace } from '../../src/formats/hf-config.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { renderTemplate } from '../../src/text/chat-template.ts';
import { createPromptRenderer } from '../../src/text/prompt.ts';
import { createTokenizer } from '../../src/text/tokenizer.ts';
import { messagesOf } from '../../src/world/document.ts';
import { encodeDocument, packRows, SPECIALS } from '../../src/world/layout.ts';
import { KIND_NAMES, LABELS, NAMES, PLACES } from '../../src/world/lexicon.ts';
import { documentOf, documents, FAMILIES, SCHEDULE } from '../../src/world/mixture.ts';

const folder = path.resolve(import.meta.dirname, '../../src/cli/world/model');
const read = (name: string) => JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
const json = read('tokenizer.json');
const tokenizerConfig = read('tokenizer_config.json');
const spec = { json, config: tokenizerConfig, chatTemplate: tokenizerConfig.chat_template };
const tokenizer = createTokenizer(spec);
const encode = readEncoder(folder);
const renderer = createPromptRenderer({
  tokenizer,
  spec,
  config: configFromHuggingFace(read('config.json'), read('generation_config.json')),
  templates: { render: async (source, context) => renderTemplate(source, context) },
});
const families = Object.keys(FAMILIES) as (keyof typeof FAMILIES)[];
const sample = families.flatMap((family) => documents(family, 8, 25));

describe('the vocabulary', () => {
  it('has 2,048 entries, 16 of them reserved, then the bytes', () => {
    expect(tokenizer.vocabSize).toBe(2048);
    expect(SPECIALS).toHaveLength(16);
    for (const [id, special] of SPECIALS.entries()) expect(json.model.vocab[special]).toBe(id);
    expect(new Set(Object.values(json.model.vocab)).size).toBe(2048);
  });
  it('holds names, places, kinds and nearly all labels whole, and no two digits in one', () => {
    for (const word of [...NAMES, ...PLACES, ...KIND_NAMES]) expect(encode(word, false), word).toHaveLength(1);
    expect(LABELS.filter((word) => encode(word, false).length === 1).length / LABELS.length).toBeGreaterThan(0.97);
    expect(Object.keys(json.model.vocab).filter((token) => /\d/.test(token) && token.length > 1 && !token.startsWith('<'))).toEqual([]);
  });
  it('holds nine in ten of the words that the assistant says whole', () => {
    let whole = 0;
    let all = 0;
    const draw = { random: seededRandom(2), split: 'train' } as const;
    for (let i = 0; i < 4000; i++)
      for (const turn of documentOf(SCHEDULE[SCHEDULE.length - 1], draw).turns)
        if (turn.role === 'assistant')
          for (const piece of pretokens(turn.content, false)) {
            if (!/[A-Za-z]/.test(piece)) continue;
            all++;
            if (encode(piece, true).length === 1) whole++;
          }
    expect(whole / all).toBeGreaterThan(0.9);
  });
});

describe('the fast encoder', () => {
  it('gives the ids of @huggingface/tokenizers and of the app', () => {
    const library = new Library(json, tokenizerConfig);
    const odd = [
      '  two  spaces',
      'line\n\nline [x] (y) {"z": "12"}',
      'naïve café ✓ 😀',
      "Ana's",
      '1,234.5',
      'a\tb\r\n',
      '[[""]]',
      'ROBIN zorbifax',
      ' lead',
      'trail ',
    ];
    for (const text of [...odd, ...sample.flatMap(({ turns }) => turns.map(({ content }) => content))]) {
      expect([...encode(text, false)], text).toEqual(library.encode(text, { add_special_tokens: false }).ids);
      expect([...tokenizer.encode(text, { addSpecial: false })], text).toEqual([...encode(text, false)]);
      expect(tokenizer.decode(encode(text, false)), text).toBe(text);
    }
  });
  it('reads any bytes back', () => {
    const random = seededRandom(3);
    for (let i = 0; i < 300; i++) {
      const text = String.fromCodePoint(
        ...Array.from(
          { length: 12 },
          () => [32, 10, 34, 91, 40, 123, 65 + random.below(58), random.below(0xd7ff), 0x1f600 + random.below(80)][random.below(9)],
        ),
      );
      expect(tokenizer.decode(tokenizer.encode(text, { addSpecial: false }))).toBe(text);
    }
  });
});

describe('the chat layout', () => {
  it('is what the template makes of the messages, and the app trains the answer and <end>', async () => {
    for (const document of sample) {
      const whole = encodeDocument(document, encode).ids;
      const row = await renderer.withAnswer(messagesOf(document), document.gold);
      expect([...row.tokens]).toEqual(whole);
      expect(row.answerAlone).toBe(false);
      expect(row.rewritesTurns).toBe(false);
      expect(row.stopId).toBe(SPECIALS.indexOf('<end>'));
    }
  });
  it('is <bos><system>...<end><user>...<end><assistant>...<end>', () => {
    const [document] = documents('few-shot-labels', 4, 50).filter(({ turns }) => turns[0].role === 'system');
    const text = tokenizer.decode(encodeDocument(document, encode).ids, { keepSpecial: true }).replaceAll('> ', '>');
    expect(text).toBe(`<bos>${document.turns.map(({ role, content }) => `<${role}>${content}<end>`).join('')}`);
  });
  it('weighs what the assistant says, and nothing else unless asked', () => {
    const [document] = documents('reading', 4, 1);
    const { ids, weights } = encodeDocument(document, encode);
    const said = ids.filter((_, i) => weights[i] > 0);
    expect(tokenizer.decode(said)).toBe(document.gold);
    expect(said.at(-1)).toBe(SPECIALS.indexOf('<end>'));
    expect(encodeDocument(document, encode, 0.2).weights.filter((weight) => weight === 0)).toHaveLength(1);
  });
});

describe('packed rows', () => {
  it('depend on the seed alone, fill their length, and never cut a document with one answer', () => {
    const phase = SCHEDULE[SCHEDULE.length - 2];
    const pack = () => packRows({ random: seededRandom(5), split: 'train' }, phase, 24, encode);
    const rows = pack();
    expect(pack()).toEqual(rows);
    const width = phase.length + 1;
    expect(rows.ids).toHaveLength(24 * width);
    expect(rows.document.filter((document) => document === 255).length / rows.ids.length).toBeLessThan(0.12);
    for (let row = 0; row < 24; row++) {
      expect(rows.ids[row * width]).toBe(SPECIALS.indexOf('<bos>'));
      expect(rows.weights[row * width]).toBe(0);
    }
  });
});

describe('learning merges', () => {
  it('joins the pair met most often first, and the earlier one in the alphabet of two met equally often', () => {
    const { merges, tokens } = learnMerges(
      new Map([
        ['ab', 3],
        ['abc', 2],
        ['xy', 5],
      ]),
      3,
    );
    expect(merges).toEqual([
      ['a', 'b'],
      ['x', 'y'],
      ['ab', 'c'],
    ]);
    expect(tokens).toHaveLength(259);
  });
});
