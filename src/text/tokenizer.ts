import { Tokenizer as Library } from '@huggingface/tokenizers';
import type { TokenizerSpec } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';
import type { Tokenizer } from './types.ts';

/** A Unicode noncharacter: put inside the spelling of a special token it hides it from the splitter, and the first normalizer takes it out again. */
const INERT = '\uFDD0';

const field = (value: unknown, key: string): unknown => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined);
const textOf = (value: unknown): string | undefined => {
  const text = typeof value === 'object' ? field(value, 'content') : value;
  return typeof text === 'string' && text !== '' ? text : undefined;
};

/** A special token's text as tokenizer_config.json names it (`bos_token`, `eos_token` ...), or '' where it has none. */
export function specialText(spec: TokenizerSpec, key: 'bos_token' | 'eos_token' | 'pad_token' | 'unk_token'): string {
  return textOf(field(spec.config, key)) ?? '';
}

/** Does the decoder, or a step of it, spell bytes as GPT-2 does? */
function isByteLevel(decoder: unknown): boolean {
  const steps = field(decoder, 'decoders');
  return field(decoder, 'type') === 'ByteLevel' || (Array.isArray(steps) && steps.some(isByteLevel));
}

/** tokenizer.json as the library reads it: absent parts as null, and a first normalizer that takes INERT out. */
function prepare(json: object): { readonly json: object; readonly added: readonly { content: string; id: number; special: boolean }[] } {
  const own = field(json, 'normalizer') ?? null;
  const strip = { type: 'Replace', pattern: { String: INERT }, content: '' };
  const listed = field(json, 'added_tokens');
  const added: { content: string; id: number; special: boolean }[] = [];
  for (const token of Array.isArray(listed) ? listed : []) {
    const content = field(token, 'content');
    const id = field(token, 'id');
    if (typeof content !== 'string' || content === '' || typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0) continue;
    // Without a normalizer the library matches every added token in the raw text; our own normalizer must not change that.
    added.push({ ...token, content, id, special: field(token, 'special') === true, ...(own === null ? { normalized: false } : {}) });
  }
  return {
    added,
    json: {
      ...json,
      model: field(json, 'model'),
      decoder: field(json, 'decoder') ?? null,
      post_processor: field(json, 'post_processor') ?? null,
      pre_tokenizer: field(json, 'pre_tokenizer') ?? null,
      normalizer: own === null ? strip : { type: 'Sequence', normalizers: [strip, own] },
      added_tokens: added,
    },
  };
}

function open(json: object, config: object): Library {
  try {
    return new Library(json, config);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('tokenizer/unsupported', 'The tokenizer of this model cannot be read.', {
      why,
      fix: 'Choose a model whose tokenizer.json holds a BPE, Unigram or WordPiece vocabulary.',
      cause,
      facts: { model: String(field(field(json, 'model'), 'type') ?? 'none') },
    });
  }
}

/** A tokenizer out of a parsed tokenizer.json and tokenizer_config.json. @throws 'tokenizer/unsupported' */
export function createTokenizer(spec: TokenizerSpec): Tokenizer {
  const { json, added } = prepare(spec.json);
  const library = open(json, spec.config);
  const byteLevel = isByteLevel(field(json, 'decoder'));
  const vocabSize = library.model?.vocab.length ?? 0;

  const specials = new Map<string, number>();
  for (const token of added) if (token.special) specials.set(token.content, token.id);
  // The two that begin and end texts may be missing in that list; a padding token may be an ordinary word, which must not vanish from answers.
  for (const key of ['bos_token', 'eos_token'] as const) {
    const text = specialText(spec, key);
    const id = text === '' ? undefined : library.token_to_id(text);
    if (id !== undefined) specials.set(text, id);
  }
  const specialIds = new Set(specials.values());
  // The longest first, so that <|im_end|> is met before <|im.
  const spellings = [...specials.keys()].filter((text) => text.length > 1).sort((a, b) => b.length - a.length);

  const encode = (text: string, options: { readonly addSpecial: boolean }): Uint32Array => {
    const { ids } = library.encode(text, { add_special_tokens: options.addSpecial });
    if (!ids.every(Number.isInteger)) {
      throw new AppError('tokenizer/unknown-text', 'The tokenizer of this model has no token for a part of this text.', {
        why: 'Its vocabulary has neither bytes nor a token for unknown text.',
        fix: 'Take characters out that the model was not made for, or choose another model.',
      });
    }
    return Uint32Array.from(ids);
  };
  const raw = (ids: readonly number[]): string => {
    const known = ids.filter((id) => library.id_to_token(id) !== undefined);
    // Spaces before punctuation stay as they were: an answer must read back as it was written.
    return known.length === 0 ? '' : library.decode(known, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
  };
  return {
    vocabSize,
    specialIds,
    encode,
    decode: (ids, options) => raw(Array.from(ids).filter((id) => options?.keepSpecial === true || !specialIds.has(id))),
    tokenText: (id) => {
      const piece = library.id_to_token(id);
      if (piece === undefined) return `<${id}>`;
      if (specialIds.has(id) || /^<0x[0-9A-Fa-f]{2}>$/.test(piece)) return piece;
      // Decoders like Llama's drop the space in front of the first token, which a chip must show.
      return byteLevel ? raw([id]) : piece.replaceAll('▁', ' ');
    },
    plain: (text) => {
      let out = text.replaceAll(INERT, '');
      for (const spelling of spellings) {
        if (out.includes(spelling)) out = out.replaceAll(spelling, spelling[0] + INERT + spelling.slice(1));
      }
      return out;
    },
  };
}
