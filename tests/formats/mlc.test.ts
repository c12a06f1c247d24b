// MLC's folders: read, refused, written.
import { createHash } from 'node:crypto';
import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, test } from 'vitest';
import { memorySource } from '../../src/formats/bytes.ts';
import { openHuggingFace } from '../../src/formats/hf-source.ts';
import { openMlc } from '../../src/formats/mlc-source.ts';
import { type MlcFile, type MlcWriteOptions, mlcBytes, mlcChatConfig, mlcTokenizerFiles, writeMlc } from '../../src/formats/mlc-write.ts';
import { openModel } from '../../src/formats/open-model.ts';
import { toF16Packed, toF32 } from '../../src/formats/quant.ts';
import type { ByteSource, ModelSource } from '../../src/formats/types.ts';
import { AppError } from '../../src/lib/error.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { fixtureBytes, fixtureFiles, fixtureSources } from '../support/files.ts';
import { fixtureTensors } from '../support/fixtures.ts';

const Q4F32 = 'quant/llama/mlc_q4f32_1';
type Files = Map<string, Uint8Array>;
const filesOf = (): Files => new Map([...fixtureFiles(Q4F32)].filter(([name]) => !name.startsWith('expected.')));
const sources = (files: Files): readonly ByteSource[] => [...files].map(([name, bytes]) => memorySource(`m/${name}`, bytes));
const size = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

async function weights(source: ModelSource): Promise<Map<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for await (const { name, dtype, shape, bytes } of source.tensors()) found.set(name, toF32(bytes, dtype, size(shape)));
  return found;
}
async function codeOf(files: Files, verify = false): Promise<string> {
  try {
    const source = await openModel(sources(files));
    if (verify) await source.verify?.();
    for await (const _ of source.tensors());
    return 'taken';
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
}
/** A JSON file with one text replaced; it must be there. */
function edit(files: Files, name: string, from: string | RegExp, to: string): Files {
  const old = new TextDecoder().decode(files.get(name));
  const made = old.replace(from, to);
  expect(made).not.toBe(old);
  return new Map(files).set(name, new TextEncoder().encode(made));
}
const without = (files: Files, ...names: readonly string[]): Files => new Map([...files].filter(([name]) => !names.includes(name)));

describe.each(['mlc_q4f16_1', 'mlc_q4f32_1'])('quant/llama/%s', (name) => {
  test('dequantized weights are the expected ones bit for bit, rows in Hugging Face order, and the sums of its shards are right', async () => {
    const source = await openModel(fixtureSources(`quant/llama/${name}`).filter((file) => !file.name.includes('expected.')));
    expect(source.format).toBe('mlc');
    await source.verify?.();
    const got = await weights(source);
    let compared = 0;
    for (const [key, { data }] of fixtureTensors(`quant/llama/${name}/expected.safetensors`)) {
      if (!key.startsWith('dequant:')) continue;
      expect(Array.from(got.get(key.slice(8)) ?? []), key).toEqual(Array.from(data));
      compared++;
    }
    expect(compared).toBeGreaterThan(7);
    for (const info of source.tensorInfos) expect(got.get(info.name)?.length, info.name).toBe(size(info.shape));
  });

  test('configuration, stops, tokenizer and layout are those of the model that it was made of', async () => {
    const source = await openMlc(fixtureSources(`quant/llama/${name}`));
    const hf = await openHuggingFace(fixtureSources('models/llama'));
    expect(source.config.stopIds).toContain(hf.config.stopIds[0]);
    expect({ ...source.config, stopIds: [] }).toEqual({ ...hf.config, stopIds: [] });
    expect(source.tokenizer.chatTemplate).toBe(hf.tokenizer.chatTemplate);
    const ids = (spec: ModelSource['tokenizer']): unknown => new Tokenizer(spec.json, spec.config).encode('The rain in Spain').ids;
    expect(ids(source.tokenizer)).toEqual(ids(hf.tokenizer));
  });
});

test('the older name of the index is read too', async () => {
  expect(await codeOf(without(filesOf(), 'tensor-cache.json'), true)).toBe('taken');
});

describe('what is wrong is named', () => {
  const shard = 'params_shard_0.bin';
  const index = 'tensor-cache.json';
  const chat = 'mlc-chat-config.json';
  test.each<[string, (files: Files) => Files, string]>([
    ['no shard', (f) => without(f, shard), 'mlc/shards-missing'],
    ['a short shard', (f) => new Map(f).set(shard, fixtureBytes(`${Q4F32}/${shard}`).subarray(0, 52_000)), 'mlc/shard-size'],
    ['a longer shard', (f) => new Map(f).set(shard, new Uint8Array(60_000)), 'mlc/shard-size'],
    ['the shard of another model', (f) => new Map(f).set(shard, fixtureBytes(`quant/llama/mlc_q4f16_1/${shard}`)), 'mlc/shard-hash'],
    ['the index of another conversion', (f) => new Map(f).set(index, fixtureBytes(`quant/llama/mlc_q4f16_1/${index}`)), 'mlc/tensor-type'],
    ['no index', (f) => without(f, index, 'ndarray-cache.json'), 'model/missing-files'],
    ['no chat configuration', (f) => without(f, chat), 'model/missing-files'],
    ['no tokenizer', (f) => without(f, 'tokenizer.json'), 'model/missing-files'],
    ['a shard outside the folder', (f) => edit(f, index, shard, '../x.bin'), 'mlc/index'],
    ['another shape', (f) => edit(f, index, /\[\s*288,\s*8\s*\]/, '[8, 288]'), 'model/shape-mismatch'],
    ['bytes that are not the shape', (f) => edit(f, index, '"nbytes": 9216', '"nbytes": 9220'), 'mlc/index'],
    ['tensors over each other', (f) => edit(f, index, '"byteOffset": 9216', '"byteOffset": 9000'), 'mlc/index'],
    ['an unknown number type', (f) => edit(f, index, '"uint32"', '"int4"'), 'format/unsupported-dtype'],
    ['a tensor that is not there', (f) => edit(f, index, 'model.norm.weight', 'model.norm.bias'), 'model/missing-tensors'],
    ['another quantization', (f) => edit(f, chat, 'q4f32_1', 'q3f16_1'), 'model/unsupported-feature'],
    ['another architecture', (f) => edit(f, chat, '"model_type": "llama"', '"model_type": "qwen2"'), 'model/unsupported-architecture'],
    ['no widths', (f) => edit(f, chat, '"hidden_size": 64,', ''), 'mlc/chat-config'],
    ['no context', (f) => edit(f, chat, /"context_window_size": 256,/g, ''), 'mlc/chat-config'],
    ['nothing that ends an answer', (f) => edit(f, chat, /,\s*"eos_token_id": 286/, ''), 'mlc/no-stops'],
    ['no layout', (f) => without(f, 'tokenizer_config.json'), 'mlc/no-layout'],
    ['an index that is no JSON', (f) => new Map(f).set(index, new TextEncoder().encode('{"records":')), 'format/json'],
  ])('%s', async (_, change, code) => {
    expect(await codeOf(change(filesOf()), true)).toBe(code);
  });

  test('300 damaged indexes and configurations are refused with a code, or taken', async () => {
    const random = seededRandom(11);
    const seen = new Map<string, number>();
    for (let i = 0; i < 300; i++) {
      const name = i % 2 === 0 ? index : chat;
      const files = filesOf();
      const bytes = (files.get(name) ?? new Uint8Array()).slice();
      for (let k = 0; k < 1 + (i % 4); k++) bytes[Math.floor(random.next() * bytes.length)] = 32 + Math.floor(random.next() * 95);
      const code = await codeOf(files.set(name, i % 5 === 0 ? bytes.subarray(0, Math.floor(random.next() * bytes.length)) : bytes));
      seen.set(code, (seen.get(code) ?? 0) + 1);
    }
    expect(seen.size).toBeGreaterThan(3);
  });
});

describe('written', () => {
  const llama = (): Promise<ModelSource> => openHuggingFace(fixtureSources('models/llama'));
  async function written(source: ModelSource, options: MlcWriteOptions): Promise<readonly MlcFile[]> {
    const files: MlcFile[] = [mlcChatConfig(source, options.quantization), ...mlcTokenizerFiles(source.tokenizer)];
    for await (const file of writeMlc(source, options)) files.push(file);
    return files;
  }
  const asFiles = (files: readonly MlcFile[]): Files => new Map(files.map(({ name, bytes }) => [name, bytes]));

  test('the llama fixture as q4f32_1 is the shard of quant/llama/mlc_q4f32_1 bit for bit, with its index', async () => {
    const files = asFiles(await written(await llama(), { quantization: 'q4f32_1', floats: 'bf16' }));
    expect(files.get('params_shard_0.bin')).toEqual(new Uint8Array(fixtureBytes(`${Q4F32}/params_shard_0.bin`)));
    const parse = (bytes: Uint8Array | undefined): unknown => JSON.parse(new TextDecoder().decode(bytes));
    expect(parse(files.get('tensor-cache.json'))).toEqual(parse(fixtureBytes(`${Q4F32}/tensor-cache.json`)));
  });

  test.each([undefined, 20_000])('q0f32 in shards of %s bytes is the same model bit for bit', async (shardBytes) => {
    const source = await llama();
    const options = { quantization: 'q0f32', floats: 'f32', ...(shardBytes === undefined ? {} : { shardBytes }) } as const;
    const files = asFiles(await written(source, options));
    const shards = [...files].filter(([name]) => name.startsWith('params_shard_'));
    expect(shards.reduce((sum, [, bytes]) => sum + bytes.length, 0)).toBe(mlcBytes(source.config, options));
    expect(shards.length > 5).toBe(shardBytes !== undefined);
    const back = await openModel(sources(files));
    await back.verify?.();
    expect(back.config).toEqual(source.config);
    expect(back.tokenizer.chatTemplate).toBe(source.tokenizer.chatTemplate);
    expect(await weights(back)).toEqual(await weights(source));
  });

  /** The same shards with 16 bits a number, as MLC's own program writes q0f16. */
  function halved(files: Files): Files {
    const json = JSON.parse(new TextDecoder().decode(files.get('tensor-cache.json')));
    const made = new Map(files);
    for (const entry of json.records) {
      const old = files.get(entry.dataPath) ?? new Uint8Array();
      const parts = entry.records.map(({ byteOffset, nbytes }: { byteOffset: number; nbytes: number }) => {
        const packed = toF16Packed(old.slice(byteOffset, byteOffset + nbytes), 'f32', nbytes / 4);
        return new Uint8Array(packed.buffer, packed.byteOffset, nbytes / 2);
      });
      let at = 0;
      entry.records.forEach((record: object, i: number) => {
        Object.assign(record, { dtype: 'float16', format: 'raw', nbytes: parts[i].length, byteOffset: at });
        at += parts[i].length;
      });
      const shard = Buffer.concat(parts);
      made.set(entry.dataPath, new Uint8Array(shard));
      Object.assign(entry, { nbytes: at, md5sum: createHash('md5').update(shard).digest('hex') });
    }
    made.set('tensor-cache.json', new TextEncoder().encode(JSON.stringify(json)));
    return edit(made, 'mlc-chat-config.json', '"q0f32"', '"q0f16"');
  }
  test.each([
    ['q0f16', 2 ** -11, 2 ** -25],
    ['q0f32 as MLC writes it, its numbers in bf16', 2 ** -8, 0],
  ] as const)('%s is held as it is, its fused rows apart', async (kind, relative, absolute) => {
    const source = await llama();
    const floats = kind === 'q0f16' ? 'f32' : 'bf16';
    const files = asFiles(await written(source, { quantization: 'q0f32', floats }));
    const back = await openModel(sources(kind === 'q0f16' ? halved(files) : files));
    await back.verify?.();
    const type = kind === 'q0f16' ? 'f16' : 'bf16';
    expect(new Set(back.tensorInfos.map(({ dtype }) => dtype))).toEqual(new Set([type]));
    const [got, wanted] = [await weights(back), await weights(source)];
    expect([...got.keys()].sort()).toEqual([...wanted.keys()].sort());
    // Rounded to 11 or 8 bits, and no row in the place of another.
    for (const [name, values] of wanted) {
      const found = got.get(name) ?? new Float32Array();
      const wrong = values.findIndex((value, i) => !(Math.abs(found[i] - value) <= Math.abs(value) * relative + absolute));
      expect(wrong, name).toBe(-1);
    }
  });

  test('q4f32_1 with f32 scales is within half a step of its source everywhere', async () => {
    const source = await llama();
    const options = { quantization: 'q4f32_1', floats: 'f32' } as const;
    const files = asFiles(await written(source, options));
    expect(files.get('params_shard_0.bin')?.length).toBe(mlcBytes(source.config, options));
    const back = await weights(await openModel(sources(files)));
    for (const [name, values] of await weights(source)) {
      const got = back.get(name) ?? new Float32Array();
      if (name.endsWith('norm.weight')) expect(got, name).toEqual(values);
      else
        for (let g = 0; g < values.length; g += 32) {
          const step = Math.max(...values.subarray(g, g + 32).map(Math.abs)) / 7;
          const wrong = values.subarray(g, g + 32).findIndex((value, i) => !(Math.abs(got[g + i] - value) <= step * 0.5001));
          expect(wrong, `${name} from ${g} on`).toBe(-1);
        }
    }
  });

  test('a tensor that does not come is named', async () => {
    const source = await llama();
    const cut = {
      config: source.config,
      async *tensors() {
        for await (const tensor of source.tensors()) if (!tensor.name.endsWith('up_proj.weight')) yield tensor;
      },
    };
    const run = async (): Promise<void> => {
      for await (const _ of writeMlc(cut, { quantization: 'q0f32', floats: 'f32' }));
    };
    await expect(run()).rejects.toMatchObject({ code: 'model/missing-tensors' });
  });
});
