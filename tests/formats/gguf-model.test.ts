import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, test } from 'vitest';
import { memorySource } from '../../src/formats/bytes.ts';
import { parseGguf } from '../../src/formats/gguf.ts';
import { openGguf } from '../../src/formats/gguf-source.ts';
import { ggufTokenizer } from '../../src/formats/gguf-tokenizer.ts';
import type { GgufTensor, GgufValue } from '../../src/formats/gguf-types.ts';
import { writeGguf } from '../../src/formats/gguf-write.ts';
import { AppError } from '../../src/lib/error.ts';
import { fixtureBytes } from '../support/files.ts';

type Keys = Readonly<Record<string, GgufValue | undefined>>;
const text = (value: string): GgufValue => ({ type: 'string', value });
const u32 = (value: number): GgufValue => ({ type: 'u32', value });
const f32 = (value: number): GgufValue => ({ type: 'f32', value });

/** The Q8_0 fixture with changed keys (undefined: taken away) and tensors. */
function changed(keys: Keys, tensors: (t: readonly GgufTensor[]) => readonly GgufTensor[] = (t) => t): Uint8Array {
  const bytes = fixtureBytes('quant/llama/gguf_q8_0/model.gguf');
  const header = parseGguf(bytes);
  const metadata = new Map(header.metadata);
  for (const [key, value] of Object.entries(keys)) {
    if (value === undefined) metadata.delete(key);
    else metadata.set(key, value);
  }
  const list = [...header.tensors.values()].map((t) => ({
    name: t.name,
    shape: t.shape,
    type: t.type.name,
    bytes: bytes.subarray(t.start, t.end),
  }));
  return writeGguf(metadata, tensors(list));
}
const open = (bytes: Uint8Array) => openGguf(memorySource('folder/my-model.gguf', bytes));

async function failure(act: Promise<unknown>): Promise<AppError> {
  try {
    await act;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a GGUF model', () => {
  test('an own head, Llama 3 divisors, stop ids and names', async () => {
    const divisors = Float32Array.from([1, 1, 1, 2, 4, 8, 8, 8]);
    const source = await open(
      changed({ 'tokenizer.ggml.eot_token_id': u32(285), 'general.name': undefined }, (t) => [
        ...t,
        { ...t[0], name: 'output.weight' },
        { name: 'rope_freqs.weight', shape: [8], type: 'F32', bytes: new Uint8Array(divisors.buffer) },
      ]),
    );
    expect(source.config.tied).toBe(false);
    expect(source.config.ropeScaling).toEqual({ divisors: [...divisors] });
    expect(source.config.stopIds).toEqual([286, 285]);
    expect(source.name).toBe('my-model');
    expect(source.tensorInfos.at(-1)).toMatchObject({ name: 'lm_head.weight', dtype: 'q8_0', shape: [288, 64], bytes: 288 * 68 });
  });

  test.each<[string, string, Uint8Array, string]>([
    ['another architecture', 'model/unsupported-architecture', changed({ 'general.architecture': text('qwen2') }), 'qwen2'],
    ['no architecture', 'model/config', changed({ 'general.architecture': undefined }), 'general.architecture'],
    ['a mixture of experts', 'model/unsupported-feature', changed({ 'llama.expert_count': u32(8) }), '8 experts'],
    ['yarn', 'model/unsupported-feature', changed({ 'llama.rope.scaling.type': text('yarn') }), 'yarn'],
    ['partial rotation', 'model/unsupported-feature', changed({ 'llama.rope.dimension_count': u32(8) }), '8 of 16'],
    ['other value heads', 'model/unsupported-feature', changed({ 'llama.attention.value_length': u32(8) }), 'values'],
    [
      'heads by layer',
      'model/config',
      changed({ 'llama.attention.head_count_kv': { type: 'array', of: 'u32', value: [2, 1] } }),
      'head_count_kv',
    ],
    ['a missing size', 'model/config', changed({ 'llama.block_count': undefined }), 'block_count'],
    ['a size of 0', 'model/config', changed({ 'llama.embedding_length': u32(0) }), 'embedding_length'],
    ['a size that is a text', 'model/config', changed({ 'llama.embedding_length': text('64') }), 'embedding_length'],
    ['a size of another model', 'model/shape-mismatch', changed({ 'llama.feed_forward_length': u32(256) }), 'ffn_gate'],
    ['more layers than weights', 'model/missing-tensors', changed({ 'llama.block_count': u32(3) }), 'blk.2'],
    ['no epsilon', 'model/config', changed({ 'llama.attention.layer_norm_rms_epsilon': undefined }), 'epsilon'],
    ['an infinite rope base', 'model/config', changed({ 'llama.rope.freq_base': f32(Number.POSITIVE_INFINITY) }), 'freq_base'],
    ['one part of several', 'model/split-gguf', changed({ 'split.count': { type: 'u16', value: 3 } }), 'my-model.gguf'],
    ['an adapter', 'model/adapter', changed({ 'general.type': text('adapter') }), 'adapter'],
    [
      'a bias',
      'model/unsupported-feature',
      changed({}, (t) => [...t, { name: 'blk.0.attn_q.bias', shape: [64], type: 'F32', bytes: new Uint8Array(256) }]),
      'attn_q.bias',
    ],
    [
      'a type that is not read',
      'format/unsupported-dtype',
      changed({}, (t) => t.map((x, i) => (i === 0 ? { ...x, type: 'Q5_0', bytes: new Uint8Array(288 * 44) } : x))),
      'Q5_0',
    ],
    [
      'divisors of another head size',
      'model/config',
      changed({}, (t) => [...t, { name: 'rope_freqs.weight', shape: [4], type: 'F32', bytes: new Uint8Array(16) }]),
      'rope_freqs',
    ],
    [
      'a divisor of 0',
      'model/config',
      changed({}, (t) => [...t, { name: 'rope_freqs.weight', shape: [8], type: 'F32', bytes: new Uint8Array(32) }]),
      'rope_freqs',
    ],
    [
      'an embedding of another vocabulary',
      'model/tokenizer-mismatch',
      changed({}, (t) => t.map((x, i) => (i === 0 ? { ...x, shape: [256, 64], bytes: x.bytes.subarray(0, 256 * 68) } : x))),
      '256',
    ],
    ['a vocabulary of another kind', 'model/unsupported-tokenizer', changed({ 'tokenizer.ggml.model': text('bert') }), 'bert'],
    [
      'a pre-tokenizer that is not known',
      'model/unsupported-tokenizer',
      changed({ 'tokenizer.ggml.pre': text('deepseek-llm') }),
      'deepseek-llm',
    ],
    ['no tokenizer', 'model/tokenizer', changed({ 'tokenizer.ggml.model': undefined }), 'tokenizer.ggml.model'],
    ['no merges', 'model/tokenizer', changed({ 'tokenizer.ggml.merges': undefined }), 'merges'],
    [
      'a merge of no tokens',
      'model/tokenizer',
      changed({ 'tokenizer.ggml.merges': { type: 'array', of: 'string', value: ['x yz'] } }),
      'x yz',
    ],
    ['no scores', 'model/tokenizer', changed({ 'tokenizer.ggml.model': text('llama') }), 'scores'],
    [
      'types of another length',
      'model/tokenizer',
      changed({ 'tokenizer.ggml.token_type': { type: 'array', of: 'i32', value: [1] } }),
      '1 token types',
    ],
    ['an end token outside', 'model/config', changed({ 'tokenizer.ggml.eos_token_id': u32(288) }), 'eos_token_id'],
  ])('%s is refused and named', async (_, code, bytes, named) => {
    const error = await failure(open(bytes));
    expect(error.code).toBe(code);
    expect(error.message).toContain(named);
    expect(error.fix).not.toBe('');
  });
});

describe('tokenizers from metadata', () => {
  /** A vocabulary of bytes and nothing else, so that every pre-token is seen as its bytes. */
  function words(pre: string, input: string): readonly string[] {
    const bytes = fixtureBytes('quant/llama/gguf_q8_0/model.gguf');
    const metadata = new Map(parseGguf(bytes).metadata).set('tokenizer.ggml.pre', text(pre));
    const { json, config } = ggufTokenizer(metadata);
    const split = new Tokenizer(json, config).pre_tokenizer;
    if (split === null) throw new Error('no pre-tokenizer');
    return split.pre_tokenize_text(input, {}).map((word: string) => word.replaceAll('Ġ', ' '));
  }

  test.each<[string, readonly string[]]>([
    ['gpt-2', ['I', "'m", ' 1234567', '!!', '  ', ' x']],
    ['default', ['I', "'", 'm', ' ', '123', '456', '7', '!!', '  ', ' x']],
    ['smollm', ['I', "'m", ' ', '1', '2', '3', '4', '5', '6', '7', '!!', '  ', ' x']],
    ['qwen2', ['I', "'m", ' ', '1', '2', '3', '4', '5', '6', '7', '!!', '  ', ' x']],
    ['llama-bpe', ['I', "'m", ' ', '123', '456', '7', '!!', '  ', ' x']],
  ])('%s splits as its model does', (pre, expected) => {
    expect(words(pre, "I'm 1234567!!   x")).toEqual(expected);
  });

  test('begin and end tokens are added where the file says so', () => {
    const metadata = new Map(parseGguf(fixtureBytes('quant/llama/gguf_q8_0/model.gguf')).metadata);
    const ids = (bos: boolean, eos: boolean): readonly number[] => {
      const { json, config } = ggufTokenizer(
        new Map(metadata)
          .set('tokenizer.ggml.add_bos_token', { type: 'bool', value: bos })
          .set('tokenizer.ggml.add_eos_token', { type: 'bool', value: eos }),
      );
      return new Tokenizer(json, config).encode('!').ids;
    };
    expect(ids(false, false)).toEqual([0]);
    expect(ids(true, false)).toEqual([284, 0]);
    expect(ids(true, true)).toEqual([284, 0, 286]);
  });

  test('a SentencePiece vocabulary: merges by score, byte fallback, no space before where the file says so', () => {
    const pieces = [
      '<unk>',
      '<s>',
      '</s>',
      ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`),
      '▁',
      'a',
      'b',
      'c',
      'ab',
      'bc',
      '▁ab',
      'abc',
      '__proto__',
    ];
    const at = (piece: string): number => pieces.indexOf(piece);
    const types = pieces.map((_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1));
    const scores = pieces.map((p) => ({ bc: -1, ab: -2, '▁ab': -3, abc: -4 })[p] ?? -100);
    const tokenizer = (prefix: boolean): Tokenizer => {
      const { json, config } = ggufTokenizer(
        new Map<string, GgufValue>([
          ['tokenizer.ggml.model', text('llama')],
          ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: pieces }],
          ['tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: types }],
          ['tokenizer.ggml.scores', { type: 'array', of: 'f32', value: scores }],
          ['tokenizer.ggml.add_space_prefix', { type: 'bool', value: prefix }],
        ]),
      );
      return new Tokenizer(json, config);
    };
    // bc has the higher score, so "abc" joins b and c first; then a and bc make abc.
    expect(tokenizer(false).encode('abc').ids).toEqual([1, at('abc')]);
    expect(tokenizer(true).encode('ab').ids).toEqual([1, at('▁ab')]);
    expect(tokenizer(true).encode('é').ids).toEqual([1, at('▁'), at('<0xC3>'), at('<0xA9>')]);
    expect(tokenizer(true).decode([at('▁ab'), at('<0xC3>'), at('<0xA9>')])).toBe('abé');
    expect(tokenizer(false).token_to_id('__proto__')).toBe(at('__proto__'));
  });

  test('a token standing twice is refused', () => {
    const metadata = new Map(parseGguf(fixtureBytes('quant/llama/gguf_q8_0/model.gguf')).metadata);
    const tokens = metadata.get('tokenizer.ggml.tokens');
    if (tokens?.type !== 'array' || tokens.of !== 'string') throw new Error('no tokens');
    const twice = [...tokens.value];
    twice[5] = twice[4];
    expect(() => ggufTokenizer(metadata.set('tokenizer.ggml.tokens', { type: 'array', of: 'string', value: twice }))).toThrow(AppError);
  });
});
