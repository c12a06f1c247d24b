import { describe, expect, test } from 'vitest';
import { memorySource } from '../../src/formats/bytes.ts';
import { configFromHuggingFace } from '../../src/formats/hf-config.ts';
import { openHuggingFace } from '../../src/formats/hf-source.ts';
import { openModel } from '../../src/formats/open-model.ts';
import { toF32 } from '../../src/formats/quant.ts';
import { readSafetensors, type SafetensorsTensor, writeSafetensors } from '../../src/formats/safetensors.ts';
import type { ByteSource, ModelSource } from '../../src/formats/types.ts';
import { AppError } from '../../src/lib/error.ts';
import { fixtureBytes, fixtureFiles, fixtureJson, fixtureSource, fixtureSources } from '../support/files.ts';

async function failure(act: Promise<unknown>): Promise<AppError> {
  try {
    await act;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}
const codeOf = async (act: Promise<unknown>): Promise<string> => (await failure(act)).code;

/** The llama fixture's files with some replaced (bytes, or an object written as JSON) or taken away (undefined). */
function llama(changes: Readonly<Record<string, Uint8Array | object | undefined>> = {}, folder = 'llama/'): readonly ByteSource[] {
  const files = new Map<string, Uint8Array | object | undefined>([...fixtureFiles('models/llama'), ...Object.entries(changes)]);
  return [...files].flatMap(([name, content]) => {
    if (content === undefined || name.startsWith('expected')) return [];
    const bytes = content instanceof Uint8Array ? content : new TextEncoder().encode(JSON.stringify(content));
    return [memorySource(`${folder}${name}`, bytes)];
  });
}
const config = (): Record<string, unknown> => fixtureJson('models/llama/config.json');
const tokenizerConfig = (): Record<string, unknown> => fixtureJson('models/llama/tokenizer_config.json');
const tensors = (): readonly SafetensorsTensor[] => [...readSafetensors(fixtureBytes('models/llama/model.safetensors')).tensors.values()];
const weights = (change: (t: readonly SafetensorsTensor[]) => readonly SafetensorsTensor[]): Record<string, Uint8Array> => ({
  'model.safetensors': writeSafetensors(change(tensors())),
});

async function all(source: ModelSource): Promise<ReadonlyMap<string, Float32Array>> {
  const out = new Map<string, Float32Array>();
  for await (const t of source.tensors())
    out.set(
      t.name,
      toF32(
        t.bytes,
        t.dtype,
        t.shape.reduce((a, b) => a * b, 1),
      ).slice(),
    );
  return out;
}

describe('reading', () => {
  test('the configuration, in the letters used everywhere', async () => {
    const source = await openHuggingFace(llama());
    expect(source.config).toEqual({
      architecture: 'llama',
      C: 64,
      L: 2,
      NH: 4,
      NKV: 2,
      HS: 16,
      F: 128,
      V: 288,
      context: 256,
      normEps: 1e-5,
      ropeTheta: 10_000,
      tied: true,
      bosId: 284,
      stopIds: [286],
      padId: 287,
    });
    expect(source.name).toBe('llama');
    expect(source.tensorInfos).toHaveLength(20);
    expect(source.files.map((f) => f.name)).toContain('llama/model.safetensors');
    expect(source.files.map((f) => f.name)).not.toContain('llama/expected.json');
    const untied = await openHuggingFace(fixtureSources('models/llama3_untied'));
    expect(untied.config.ropeScaling).toEqual({ factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 64 });
    expect(untied.config.tied).toBe(false);
    expect(untied.tensorInfos.at(-1)?.name).toBe('lm_head.weight');
  });

  test('tensors come with the bytes of the file, whole or in shards, with or without an index', async () => {
    const whole = await all(await openHuggingFace(llama()));
    for (const t of tensors()) expect(whole.get(t.name)).toEqual(new Float32Array(t.bytes.slice().buffer));
    const sharded = fixtureSources('models/llama_bf16_sharded');
    const withIndex = await openHuggingFace(sharded);
    const without = await openHuggingFace(sharded.filter((f) => !f.name.endsWith('index.json')));
    expect(withIndex.tensorInfos[0].dtype).toBe('bf16');
    expect(await all(without)).toEqual(await all(withIndex));
    let worst = 0;
    for (const [name, values] of await all(withIndex))
      for (const [i, x] of values.entries()) worst = Math.max(worst, Math.abs(x - (whole.get(name)?.[i] ?? 9)) / Math.max(1, Math.abs(x)));
    expect(worst).toBeLessThan(2 ** -8);
    const half = await openHuggingFace(fixtureSources('models/llama_f16'));
    expect(half.tensorInfos[0]).toEqual({ name: 'model.embed_tokens.weight', shape: [288, 64], dtype: 'f16', bytes: 288 * 64 * 2 });
  });

  test('names of the inner LlamaModel are understood; rotation tables and a tied head are left alone', async () => {
    const changed = weights((t) => [
      ...t.map((x) => ({ ...x, name: x.name.replace(/^model\./, '') })),
      { name: 'layers.0.self_attn.rotary_emb.inv_freq', dtype: 'F32', shape: [8], bytes: new Uint8Array(32) },
      { ...t[0], name: 'lm_head.weight' },
    ]);
    expect(await all(await openHuggingFace(llama(changed)))).toEqual(await all(await openHuggingFace(llama())));
  });

  test.each<[string, Readonly<Record<string, Uint8Array | object | undefined>>, string | undefined]>([
    ['a text', {}, String(tokenizerConfig().chat_template)],
    [
      'a list of named ones',
      {
        'tokenizer_config.json': {
          ...tokenizerConfig(),
          chat_template: [
            { name: 'tool', template: 'T' },
            { name: 'default', template: 'D' },
          ],
        },
      },
      'D',
    ],
    ['chat_template.jinja, which wins', { 'chat_template.jinja': new TextEncoder().encode('{{ jinja }}') }, '{{ jinja }}'],
    ['chat_template.json', { 'chat_template.json': { chat_template: 'J' } }, 'J'],
    ['none', { 'tokenizer_config.json': { ...tokenizerConfig(), chat_template: undefined } }, undefined],
  ])('the chat template may be %s', async (_, changes, expected) => {
    expect((await openHuggingFace(llama(changes))).tokenizer.chatTemplate).toBe(expected);
  });

  test('stop ids of both files, first those of generation_config.json, each once', async () => {
    const source = await openHuggingFace(
      llama({ 'generation_config.json': { eos_token_id: [285, 286] }, 'config.json': { ...config(), eos_token_id: [284, 286] } }),
    );
    expect(source.config.stopIds).toEqual([285, 286, 284]);
    const none = await openHuggingFace(llama({ 'generation_config.json': undefined }));
    expect(none.config.stopIds).toEqual([286]);
  });

  test('sub-folders beside the model are left alone', async () => {
    const extra = memorySource('llama/onnx/config.json', new TextEncoder().encode('{}'));
    expect((await openHuggingFace([extra, ...llama()])).config.C).toBe(64);
  });

  test('a hub id is a name, a local path of the maker is not', async () => {
    expect((await openHuggingFace(llama({ 'config.json': { ...config(), _name_or_path: 'org/tiny' } }))).name).toBe('org/tiny');
    expect((await openHuggingFace(llama({ 'config.json': { ...config(), _name_or_path: '/home/ann/tiny' } }))).name).toBe('llama');
  });
});

describe('refusing', () => {
  test('all missing files are named at once', async () => {
    const error = await failure(openHuggingFace(llama({ 'config.json': undefined, 'tokenizer.json': undefined })));
    expect(error.code).toBe('model/missing-files');
    expect(error.facts.missing).toBe('config.json, tokenizer.json');
    expect(error.message).toContain('config.json, tokenizer.json');
    const shard = fixtureSources('models/llama_bf16_sharded').filter((f) => !f.name.includes('00002-of'));
    expect((await failure(openHuggingFace(shard))).facts.missing).toBe('model-00002-of-00002.safetensors');
    expect((await failure(openHuggingFace(shard.filter((f) => !f.name.includes('index'))))).facts.missing).toBe(
      'model-00002-of-00002.safetensors',
    );
    expect((await failure(openModel(llama({ 'model.safetensors': undefined })))).facts.missing).toBe('model.safetensors');
  });

  test.each(['gemma3', 'qwen2', 'qwen3'])('%s is refused by name', async (name) => {
    const known: Record<string, string> = { gemma3: 'Gemma3ForCausalLM', qwen2: 'Qwen2ForCausalLM', qwen3: 'Qwen3ForCausalLM' };
    const changed = { ...config(), model_type: name, architectures: [known[name]] };
    const error = await failure(openHuggingFace(llama({ 'config.json': changed })));
    expect(error.code).toBe('model/unsupported-architecture');
    expect(error.message).toContain(known[name]);
  });

  test.each<[string, string, object]>([
    ['attention bias', 'model/unsupported-feature', { attention_bias: true }],
    ['mlp bias', 'model/unsupported-feature', { mlp_bias: true }],
    ['another activation', 'model/unsupported-feature', { hidden_act: 'gelu' }],
    ['yarn', 'model/unsupported-feature', { rope_scaling: { type: 'yarn', factor: 4 } }],
    ['linear scaling', 'model/unsupported-feature', { rope_scaling: { rope_type: 'linear', factor: 4 } }],
    ['partial rotation', 'model/unsupported-feature', { partial_rotary_factor: 0.5 }],
    ['quantized weights', 'model/unsupported-feature', { quantization_config: { quant_method: 'bitsandbytes' } }],
    ['llama3 without its factors', 'model/config', { rope_scaling: { rope_type: 'llama3' } }],
    ['a size that is a text', 'model/config', { hidden_size: '64' }],
    ['a negative size', 'model/config', { num_hidden_layers: -1 }],
    ['a size past any model', 'model/config', { vocab_size: 2 ** 40 }],
    ['heads that do not divide', 'model/config', { num_key_value_heads: 3 }],
    ['no head size', 'model/config', { head_dim: null, num_attention_heads: 7, num_key_value_heads: 7 }],
    ['a stop token outside', 'model/config', { eos_token_id: 999 }],
    ['no architecture', 'model/config', { model_type: undefined, architectures: undefined }],
    ['weights of another shape', 'model/shape-mismatch', { intermediate_size: 256 }],
    ['more layers than weights', 'model/missing-tensors', { num_hidden_layers: 3 }],
    ['an untied head without weights', 'model/missing-tensors', { tie_word_embeddings: false }],
    ['a vocabulary smaller than the tokenizer', 'model/tokenizer-mismatch', { vocab_size: 280, eos_token_id: 1 }],
    ['a vocabulary much larger than the tokenizer', 'model/tokenizer-mismatch', { vocab_size: 512 }],
  ])('%s in config.json', async (_, code, change) => {
    expect(await codeOf(openHuggingFace(llama({ 'config.json': { ...config(), ...change }, 'generation_config.json': undefined })))).toBe(
      code,
    );
  });

  test('the feature that is not supported is named', () => {
    expect(() => configFromHuggingFace({ ...config(), rope_scaling: { rope_type: 'yarn' } }, undefined)).toThrow(/yarn/);
    expect(
      configFromHuggingFace(
        { ...config(), rope_scaling: undefined, rope_theta: undefined, rope_parameters: { rope_type: 'default', rope_theta: 5e5 } },
        undefined,
      ).ropeTheta,
    ).toBe(5e5);
    expect(configFromHuggingFace({ ...config(), head_dim: undefined }, undefined).HS).toBe(16);
  });

  test.each<[string, string, Readonly<Record<string, Uint8Array | object | undefined>>]>([
    ['a saved web page', 'format/json', { 'config.json': new TextEncoder().encode('<!doctype html>') }],
    ['a list', 'format/json', { 'tokenizer_config.json': [] }],
    ['a text that is no UTF-8', 'format/text', { 'config.json': new Uint8Array([0x7b, 0xff, 0x7d]) }],
    ['a tokenizer without vocabulary', 'model/tokenizer', { 'tokenizer.json': {} }],
    ['token ids that are texts', 'model/tokenizer', { 'tokenizer.json': { model: { vocab: { a: '1' } } } }],
    ['cut weights', 'format/truncated', { 'model.safetensors': fixtureBytes('models/llama/model.safetensors').slice(0, 300_000) }],
    ['integer weights', 'format/unsupported-dtype', weights((t) => t.map((x, i) => (i === 0 ? { ...x, dtype: 'I32' } : x)))],
    [
      'an index that leads elsewhere',
      'format/header',
      { 'model.safetensors.index.json': { weight_map: { a: '../other/model.safetensors' } } },
    ],
    ['an index with an address', 'format/header', { 'model.safetensors.index.json': { weight_map: { a: 'https://x/model.safetensors' } } }],
    ['an index without a map', 'format/header', { 'model.safetensors.index.json': {} }],
  ])('%s', async (_, code, changes) => {
    expect(await codeOf(openHuggingFace(llama(changes)))).toBe(code);
  });

  test('a tensor in two shards', async () => {
    const shard = fixtureBytes('models/llama/model.safetensors');
    const files = llama({
      'model.safetensors': undefined,
      'model-00001-of-00002.safetensors': shard,
      'model-00002-of-00002.safetensors': shard,
    });
    expect(await codeOf(openHuggingFace(files))).toBe('format/duplicate-name');
  });

  test('two models at once', async () => {
    expect(await codeOf(openModel([...llama({}, 'one/'), ...llama({}, 'two/')]))).toBe('model/several-models');
    const weight = fixtureBytes('models/llama/model.safetensors');
    expect(await codeOf(openModel(llama({ 'model.safetensors': undefined, 'a.safetensors': weight, 'b.safetensors': weight })))).toBe(
      'model/several-models',
    );
  });
});

describe('openModel', () => {
  const gguf = (name: string): ByteSource => memorySource(name, fixtureBytes('quant/llama/gguf_q8_0/model.gguf'));

  test('chooses by what is there', async () => {
    expect((await openModel([fixtureSource('quant/llama/gguf_q8_0/model.gguf')])).format).toBe('gguf');
    expect((await openModel([memorySource('README.md', new Uint8Array()), ...llama()])).format).toBe('safetensors');
    expect((await openModel([gguf('x/model.gguf'), memorySource('x/config.json', new TextEncoder().encode('{}'))])).format).toBe('gguf');
  });

  test.each<[string, string, readonly ByteSource[]]>([
    ['nothing', 'model/missing-files', []],
    ['a picture', 'model/missing-files', [memorySource('cat.png', new Uint8Array(9))]],
    ['several GGUF files', 'model/several-models', [gguf('a.gguf'), gguf('b.gguf')]],
    ['one part of a GGUF', 'model/split-gguf', [gguf('m-00001-of-00002.gguf')]],
    ['GGUF and safetensors', 'model/several-models', [gguf('a.gguf'), ...llama()]],
    ['a pickle', 'model/pickle', llama({ 'model.safetensors': undefined, 'pytorch_model.bin': new Uint8Array(9) })],
    ['a PEFT adapter', 'model/adapter', [...fixtureSources('train/llama/lora_patterns')].filter((f) => f.name.includes('adapter'))],
    ['a GGUF adapter', 'model/adapter', [fixtureSource('train/llama/lora/adapter.gguf')]],
  ])('%s', async (_, code, files) => {
    expect(await codeOf(openModel(files))).toBe(code);
  });
});
