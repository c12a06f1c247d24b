// The vocabulary in a GGUF's metadata, turned into the tokenizer.json that the same model has on the Hugging Face hub, so that one tokenizer program
// serves both. What llama.cpp knows by name (`src/llama-vocab.cpp`) and is not listed here is refused, never guessed.
import { AppError } from '../lib/error.ts';
import { booleanAt, numbersAt, stringAt, stringsAt, wholeAt } from './gguf-metadata.ts';
import type { GgufValue } from './gguf-types.ts';
import { shown } from './json.ts';
import type { TokenizerSpec } from './types.ts';

type Metadata = ReadonlyMap<string, GgufValue>;

/** Values of tokenizer.ggml.token_type. */
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

/** Ids of the tokens with a task, where the file names them. */
interface Special {
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly unknown: number | undefined;
  readonly padding: number | undefined;
}

/** @throws 'model/unsupported-tokenizer' naming the kind or the pre-tokenizer, 'model/tokenizer' where parts are missing or disagree. */
export function ggufTokenizer(metadata: Metadata): TokenizerSpec {
  const kind = stringAt(metadata, 'tokenizer.ggml.model');
  if (kind === undefined) throw broken('it has no tokenizer.ggml.model');
  if (kind !== 'gpt2' && kind !== 'llama') throw unsupportedTokenizer('vocabulary kind', kind, '"gpt2" and "llama"');
  const tokens = stringsAt(metadata, 'tokenizer.ggml.tokens');
  if (tokens === undefined || tokens.length === 0) throw broken('it has no tokenizer.ggml.tokens');
  const types = numbersAt(metadata, 'tokenizer.ggml.token_type') ?? tokens.map(() => 1);
  if (types.length !== tokens.length) throw broken(`it has ${tokens.length} tokens and ${types.length} token types`);
  const vocab = vocabulary(tokens);
  const pre = kind === 'gpt2' ? (stringAt(metadata, 'tokenizer.ggml.pre') ?? 'default') : '';
  const id = (key: string): number | undefined => wholeAt(metadata, `tokenizer.ggml.${key}`, 0, tokens.length - 1);
  const special: Special = {
    bos: id('bos_token_id') ?? (kind === 'llama' ? 1 : undefined),
    eos: id('eos_token_id') ?? (kind === 'llama' ? 2 : undefined),
    unknown: id('unknown_token_id') ?? (kind === 'llama' ? 0 : undefined),
    padding: id('padding_token_id'),
  };
  // Where the file does not say, llama.cpp starts SentencePiece and Llama 3 texts with the begin token, and others not.
  const addBos = booleanAt(metadata, 'tokenizer.ggml.add_bos_token') ?? (kind === 'llama' || LLAMA3.includes(pre));
  const addEos = booleanAt(metadata, 'tokenizer.ggml.add_eos_token') ?? false;
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(tokens, types, special),
    ...(kind === 'gpt2' ? bytePairs(metadata, vocab, pre) : sentencePiece(metadata, vocab, tokens, types, special)),
    post_processor: postProcessor(tokens, addBos ? special.bos : undefined, addEos ? special.eos : undefined),
  };
  const text = (i: number | undefined): string | null => (i === undefined ? null : tokens[i]);
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: text(special.bos),
    eos_token: text(special.eos),
    unk_token: text(special.unknown),
    pad_token: text(special.padding),
    add_bos_token: addBos,
    add_eos_token: addEos,
    clean_up_tokenization_spaces: false,
  };
  const own = isSpaced(metadata) ? stringAt(metadata, TEMPLATE_KEY) : undefined;
  const chatTemplate = own ?? stringAt(metadata, 'tokenizer.chat_template');
  return { json, config, ...(chatTemplate === undefined ? {} : { chatTemplate }) };
}

function broken(what: string): AppError {
  return new AppError('model/tokenizer', `The tokenizer in the GGUF file cannot be used: ${what}.`, {
    why: 'The file is damaged or was made by a program that left parts out.',
    fix: 'Choose another GGUF file of this model, or its Hugging Face folder.',
  });
}

function unsupportedTokenizer(what: string, name: string, known: string): AppError {
  return new AppError('model/unsupported-tokenizer', `This file's ${what} is ${shown(name)}, which is not known here.`, {
    why: `Known are ${known}. A guess would split texts into other tokens than the model learned, without a warning.`,
    fix: "Choose the model's Hugging Face folder, which has its own tokenizer.json, or another model.",
    facts: { [what]: name },
  });
}

/** Ids by token. No prototype: a token may be called `__proto__`. */
function vocabulary(tokens: readonly string[]): Readonly<Record<string, number>> {
  const vocab: Record<string, number> = Object.create(null);
  const seen = new Set<string>();
  for (const [id, token] of tokens.entries()) {
    if (seen.has(token)) throw broken(`the token ${shown(token)} stands in it twice`);
    seen.add(token);
    vocab[token] = id;
  }
  return vocab;
}

/** Tokens that are cut out of a text before anything else. */
function addedTokens(tokens: readonly string[], types: readonly number[], special: Special): readonly object[] {
  const named = new Set(Object.values(special));
  const added: object[] = [];
  for (const [id, content] of tokens.entries()) {
    const isSpecial = types[id] === CONTROL || types[id] === UNKNOWN;
    if (!isSpecial && types[id] !== USER_DEFINED && !(named.has(id) && types[id] !== 1)) continue;
    if (content === '') continue;
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: isSpecial });
  }
  return added;
}

function postProcessor(tokens: readonly string[], bos: number | undefined, eos: number | undefined): object | null {
  if (bos === undefined && eos === undefined) return null;
  const mark = (id: number | undefined): readonly object[] => (id === undefined ? [] : [{ SpecialToken: { id: tokens[id], type_id: 0 } }]);
  const around = (sequence: string): readonly object[] => [...mark(bos), { Sequence: { id: sequence, type_id: 0 } }, ...mark(eos)];
  const ids = [bos, eos].filter((id) => id !== undefined);
  return {
    type: 'TemplateProcessing',
    single: around('A'),
    pair: [...around('A'), ...around('B')],
    special_tokens: Object.fromEntries(ids.map((id) => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }])),
  };
}

// ---- kind gpt2: byte-level BPE ----

const LLAMA3: readonly string[] = ['llama-bpe', 'llama3', 'llama-v3'];
const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const CASELESS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const REST = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

/** The pre-tokenizer of the model that comes with the site: llama.cpp splits its texts alike under this name. */
export const BUNDLED_PRE = 'smollm';
/** True in a file whose vocabulary wants spaces: one in front of a text and one behind these marks, taken out again when ids are read back, so that a word is
 *  one token wherever it stands. Other programs know nothing of it: there the chat template that they read puts the spaces in. */
export const SPACES_KEY = 'maquette.tokenizer.spaces';
/** The chat template without those spaces, for whoever knows the key above. */
export const TEMPLATE_KEY = 'maquette.chat_template';
/** Files made before the key: the name said it, and no other program read them. */
const OLD_BUNDLED_PRE = 'maquette';
export const SPACED_MARKS: readonly string[] = ['\n', '[', '(', '{', '"'];
const SPACED = {
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: ' ' },
      ...SPACED_MARKS.map((mark) => ({ type: 'Replace', pattern: { String: mark }, content: `${mark} ` })),
    ],
  },
  decoders: [
    ...[...SPACED_MARKS].reverse().map((mark) => ({ type: 'Replace', pattern: { String: `${mark} ` }, content: mark })),
    { type: 'Strip', content: ' ', start: 1, stop: 0 },
  ],
};

const isSpaced = (metadata: Metadata): boolean =>
  booleanAt(metadata, SPACES_KEY) ?? stringAt(metadata, 'tokenizer.ggml.pre') === OLD_BUNDLED_PRE;

/** How text is split before BPE, one pattern after the other, and whether it is put in normal form C first. */
function preTokenizer(pre: string): { readonly patterns: readonly string[]; readonly nfc: boolean } {
  if (pre === 'gpt-2' || pre === 'gpt2') return { patterns: [GPT2_PATTERN], nfc: false };
  // llama.cpp's own pattern for files that name none.
  if (pre === 'default') return { patterns: ['[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2_PATTERN, '\\p{N}+', '[0-9][0-9][0-9]'], nfc: false };
  if (pre === 'smollm' || pre === OLD_BUNDLED_PRE) return { patterns: ['\\p{N}', GPT2_PATTERN], nfc: false };
  if (pre === 'qwen2') return { patterns: [`${CASELESS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${REST}`], nfc: true };
  if (LLAMA3.includes(pre)) return { patterns: [`${CASELESS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${REST}`], nfc: false };
  throw unsupportedTokenizer('pre-tokenizer', pre, '"gpt-2", "default", "smollm", "qwen2" and "llama-bpe"');
}

function bytePairs(metadata: Metadata, vocab: Readonly<Record<string, number>>, pre: string): object {
  const { patterns, nfc } = preTokenizer(pre);
  const merges = stringsAt(metadata, 'tokenizer.ggml.merges');
  if (merges === undefined) throw broken('it has no tokenizer.ggml.merges');
  const pairs = merges.map((merge) => {
    const space = merge.indexOf(' ', 1);
    const left = merge.slice(0, space);
    const right = merge.slice(space + 1);
    if (space < 1 || vocab[left] === undefined || vocab[right] === undefined || vocab[left + right] === undefined)
      throw broken(`its merge ${shown(merge)} does not join two tokens into a third`);
    return [left, right];
  });
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  const spaced = isSpaced(metadata);
  return {
    normalizer: spaced ? SPACED.normalizer : nfc ? { type: 'NFC' } : null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [...patterns.map((Regex) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false })), bytes],
    },
    decoder: spaced ? { type: 'Sequence', decoders: [bytes, ...SPACED.decoders] } : bytes,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: LLAMA3.includes(pre),
      vocab,
      merges: pairs,
    },
  };
}

// ---- kind llama: SentencePiece BPE with scores ----

function sentencePiece(
  metadata: Metadata,
  vocab: Readonly<Record<string, number>>,
  tokens: readonly string[],
  types: readonly number[],
  special: Special,
): object {
  const scores = numbersAt(metadata, 'tokenizer.ggml.scores');
  if (scores === undefined || scores.length !== tokens.length)
    throw broken(`it has ${tokens.length} tokens and ${scores?.length ?? 0} scores`);
  const prefix = booleanAt(metadata, 'tokenizer.ggml.add_space_prefix') ?? true;
  return {
    normalizer: {
      type: 'Sequence',
      normalizers: [...(prefix ? [{ type: 'Prepend', prepend: '▁' }] : []), { type: 'Replace', pattern: { String: ' ' }, content: '▁' }],
    },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: special.unknown === undefined ? null : tokens[special.unknown],
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab,
      merges: mergesFromScores(vocab, tokens, types, scores),
    },
  };
}

/** SentencePiece joins whichever neighbours make the piece of the highest score. As BPE merges: every split of a piece into two pieces, ranked by the
 *  score of the whole, as `generate_merges` of transformers (`convert_slow_tokenizer.py`) does. */
function mergesFromScores(
  vocab: Readonly<Record<string, number>>,
  tokens: readonly string[],
  types: readonly number[],
  scores: readonly number[],
): readonly (readonly [string, string])[] {
  const usable = (piece: string): boolean => {
    const id = vocab[piece];
    return id !== undefined && types[id] !== CONTROL && types[id] !== UNKNOWN;
  };
  const found: { readonly left: string; readonly right: string; readonly score: number; readonly order: number }[] = [];
  for (const [id, token] of tokens.entries()) {
    if (!usable(token) || /^<0x[0-9A-F]{2}>$/.test(token)) continue;
    const splits: { readonly left: string; readonly right: string }[] = [];
    for (let i = 1; i < token.length; i++) {
      // Never inside a surrogate pair.
      if ((token.charCodeAt(i) & 0xfc00) === 0xdc00) continue;
      const left = token.slice(0, i);
      const right = token.slice(i);
      if (usable(left) && usable(right)) splits.push({ left, right });
    }
    splits.sort((a, b) => vocab[a.left] - vocab[b.left] || vocab[a.right] - vocab[b.right]);
    for (const { left, right } of splits) found.push({ left, right, score: scores[id], order: found.length });
  }
  found.sort((a, b) => b.score - a.score || b.left.length - a.left.length || b.right.length - a.right.length || a.order - b.order);
  return found.map(({ left, right }) => [left, right] as const);
}
