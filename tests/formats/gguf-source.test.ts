import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, test } from 'vitest';
import { readGgufHeader } from '../../src/formats/gguf.ts';
import { openGguf } from '../../src/formats/gguf-source.ts';
import { ggufTokenizer } from '../../src/formats/gguf-tokenizer.ts';
import { openHuggingFace } from '../../src/formats/hf-source.ts';
import { toF32 } from '../../src/formats/quant.ts';
import type { ModelSource } from '../../src/formats/types.ts';
import { fixtureJson, fixtureSource, fixtureSources } from '../support/files.ts';
import { fixtureTensors, haveFixtures } from '../support/fixtures.ts';

async function weights(source: ModelSource): Promise<ReadonlyMap<string, Float32Array>> {
  const all = new Map<string, Float32Array>();
  for await (const t of source.tensors())
    all.set(
      t.name,
      toF32(
        t.bytes,
        t.dtype,
        t.shape.reduce((a, b) => a * b, 1),
      ),
    );
  return all;
}

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

describe.skipIf(!haveFixtures('stories260k'))('stories260k', () => {
  test('a GGUF gives the same tensors and configuration as the folder it was made from', async () => {
    const hf = await openHuggingFace(fixtureSources('stories260k'));
    const gguf = await openGguf(fixtureSource('stories260k/model-f32.gguf'));
    expect({ ...gguf.config, stopIds: [] }).toEqual({ ...hf.config, stopIds: [] });
    const a = await weights(hf);
    const b = await weights(gguf);
    expect([...b.keys()]).toEqual([...a.keys()]);
    for (const [name, values] of a) expect(b.get(name), name).toEqual(values);
  });

  test('both tokenizers give the ids of the original, and the merges derived from scores are those of its tokenizer.json', async () => {
    const hf = (await openHuggingFace(fixtureSources('stories260k'))).tokenizer;
    const gguf = (await openGguf(fixtureSource('stories260k/model-f32.gguf'))).tokenizer;
    const left = new Tokenizer(hf.json, hf.config);
    const right = new Tokenizer(gguf.json, gguf.config);
    const { tokenizer_cases } = fixtureJson<{ tokenizer_cases: { text: string; ids: number[] }[] }>('stories260k/expected.json');
    for (const { text, ids } of tokenizer_cases) {
      expect(left.encode(text).ids, text).toEqual(ids);
      expect(right.encode(text).ids, text).toEqual(ids);
      expect(right.decode(ids, { skip_special_tokens: true })).toBe(left.decode(ids, { skip_special_tokens: true }));
    }
    for (const text of ['', ' ', '  two  spaces ', 'naïve 東京 🙂\n\ttab', '<s>mid</s> text', 'x'.repeat(300)]) {
      expect(right.encode(text).ids, text).toEqual(left.encode(text).ids);
    }
  });
});

describe.each(['gguf_f16', 'gguf_q4_0', 'gguf_q4_1', 'gguf_q8_0'])('quant/llama/%s', (name) => {
  test('dequantized weights of layer 0 and the embedding are the expected ones bit for bit, rows in Hugging Face order', async () => {
    const source = await openGguf(fixtureSource(`quant/llama/${name}/model.gguf`));
    const got = await weights(source);
    const expected = fixtureTensors(`quant/llama/${name}/expected.safetensors`);
    let compared = 0;
    for (const [key, { data }] of expected) {
      if (!key.startsWith('dequant:')) continue;
      expect(Array.from(got.get(key.slice(8)) ?? []), key).toEqual(Array.from(data));
      compared++;
    }
    if (name !== 'gguf_f16') expect(compared).toBeGreaterThan(7);
    for (const info of source.tensorInfos) expect(got.get(info.name)?.length).toBe(count(info.shape));
  });
});

test('the tokenizer and template of a gpt2-kind GGUF behave as the folder of the same model', async () => {
  const hf = await openHuggingFace(fixtureSources('models/llama'));
  const gguf = await openGguf(fixtureSource('quant/llama/gguf_f16/model.gguf'));
  expect(gguf.config).toEqual(hf.config);
  expect(gguf.tokenizer.chatTemplate).toBe(hf.tokenizer.chatTemplate);
  const left = new Tokenizer(hf.tokenizer.json, hf.tokenizer.config);
  const right = new Tokenizer(gguf.tokenizer.json, gguf.tokenizer.config);
  for (const text of ['The rain in Spain', '<|im_start|>user\nhé 12 345  x<|im_end|>\n', "it's  a\r\n\r\nt🙂", '\u0085\ufeff a']) {
    expect(right.encode(text).ids).toEqual(left.encode(text).ids);
    expect(right.decode(left.encode(text).ids)).toBe(text);
  }
});

describe.skipIf(!haveFixtures('vocab'))('vocab', () => {
  test.each(['gpt-2', 'qwen2'])('ids of %s are those of llama.cpp', async (name) => {
    const header = await readGgufHeader(fixtureSource(`vocab/ggml-vocab-${name}.gguf`));
    const { json, config } = ggufTokenizer(header.metadata);
    const tokenizer = new Tokenizer(json, config);
    const decoder = new TextDecoder();
    const read = async (end: string): Promise<string> => {
      const source = fixtureSource(`vocab/ggml-vocab-${name}.gguf.${end}`);
      return decoder.decode(await source.read(0, source.size));
    };
    const texts = (await read('inp')).split('\n__ggml_vocab_test__\n');
    const lines = (await read('out')).split('\n');
    expect(texts.length).toBeGreaterThan(40);
    for (const [i, text] of texts.entries()) {
      if (i >= texts.length - 1 && text === '') continue;
      const ids = lines[i].trim() === '' ? [] : lines[i].trim().split(/\s+/).map(Number);
      expect(tokenizer.encode(text, { add_special_tokens: false }).ids, JSON.stringify(text)).toEqual(ids);
    }
  });
});
