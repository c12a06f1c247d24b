import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readEncoder } from '../../src/cli/world/tokenizer-files.ts';
import { readGgufHeader } from '../../src/formats/gguf.ts';
import { writeGgufModel } from '../../src/formats/gguf-model.ts';
import { openGguf } from '../../src/formats/gguf-source.ts';
import { ggufTokenizer, SPACED_MARKS, SPACES_KEY } from '../../src/formats/gguf-tokenizer.ts';
import { configFromHuggingFace } from '../../src/formats/hf-config.ts';
import { expectedTensors } from '../../src/formats/llama-tensors.ts';
import { toF32 } from '../../src/formats/quant.ts';
import type { ByteSource } from '../../src/formats/types.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { renderTemplate } from '../../src/text/chat-template.ts';
import { createTokenizer } from '../../src/text/tokenizer.ts';
import { CHAT_TEMPLATE, encodeDocument, spacedTemplate } from '../../src/world/layout.ts';
import { documentOf, documents, SCHEDULE } from '../../src/world/mixture.ts';

const folder = path.resolve(import.meta.dirname, '../../src/cli/world/model');
const read = (name: string) => JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
const config = configFromHuggingFace(read('config.json'), read('generation_config.json'));
const { model, added_tokens: added } = read('tokenizer.json');
const tokens: string[] = [];
for (const [token, id] of Object.entries<number>(model.vocab)) tokens[id] = token;
const random = seededRandom(1);
/** Of all families; MAQUETTE_DOCUMENTS asks for more. */
const DOCUMENTS = Number(process.env.MAQUETTE_DOCUMENTS ?? 1000);
const tensors = new Map(
  expectedTensors(config).map(({ name, shape }) => [
    name,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.next() - 0.5),
  ]),
);
const parts = {
  name: 'vale-test',
  config,
  vocabulary: { tokens, merges: model.merges, special: new Set<number>(added.map(({ id }: { id: number }) => id)) },
  chatTemplate: CHAT_TEMPLATE,
  spacedTemplate: spacedTemplate(SPACED_MARKS),
  tensors,
  description: 'random weights',
};
const inMemory = (bytes: Uint8Array): ByteSource => ({
  name: 'vale-test.gguf',
  size: bytes.length,
  read: async (start, end) => bytes.slice(start, end),
});

describe('the bundled model as a GGUF file', () => {
  it('reads back with its configuration, and its weights as closely as the type allows', async () => {
    for (const [matrices, tolerance] of [
      ['f32', 0],
      ['f16', 3e-4],
      ['q8_0', 2.3e-3], // half a step of 0.5 / 127, and the scale rounded to half precision
    ] as const) {
      const source = await openGguf(inMemory(writeGgufModel(parts, matrices)));
      expect(source.config).toEqual(config);
      let worst = 0;
      for await (const { name, shape, dtype, bytes } of source.tensors()) {
        const values = toF32(
          bytes,
          dtype,
          shape.reduce((a, b) => a * b, 1),
        );
        const expected = tensors.get(name)!;
        expect(values.length).toBe(expected.length);
        for (let i = 0; i < values.length; i++) worst = Math.max(worst, Math.abs(values[i] - expected[i]));
      }
      expect(worst).toBeLessThanOrEqual(tolerance);
    }
  });
  it('is under 1.4 MB in q8_0, with ids, texts and template as in tokenizer.json', async () => {
    const bytes = writeGgufModel(parts, 'q8_0');
    expect(bytes.length).toBeLessThan(1.4e6);
    const source = await openGguf(inMemory(bytes));
    expect(source.tokenizer.chatTemplate).toBe(CHAT_TEMPLATE);
    const tokenizer = createTokenizer(source.tokenizer);
    const encode = readEncoder(folder);
    const odd = ['a  b\n\n[c] ("d")', '{"place": "Ambry"}', '12,345', 'ça ✓', ' x '];
    for (const text of [...odd, ...documents('system-rules', 2, 60).flatMap(({ turns }) => turns.map(({ content }) => content))]) {
      expect([...tokenizer.encode(text, { addSpecial: false })], text).toEqual([...encode(text, false)]);
      expect(tokenizer.decode(encode(text, false))).toBe(text);
    }
  });

  it('gives another program the ids of training: digits and byte pairs as it knows them, the spaces from the template', async () => {
    const { metadata } = await readGgufHeader(inMemory(writeGgufModel(parts, 'q8_0')));
    const theirs = ggufTokenizer(new Map([...metadata].filter(([key]) => key !== SPACES_KEY)));
    const [tokenizer, encode] = [createTokenizer(theirs), readEncoder(folder)];
    const draw = { random: seededRandom(20), split: 'train' } as const;
    const wrong: string[] = [];
    for (let i = 0; i < DOCUMENTS; i++) {
      const document = documentOf(SCHEDULE[SCHEDULE.length - 1], draw);
      if (document.turns.some(({ role }) => role === 'text')) continue; // words outside of any chat
      const messages = document.turns.map(({ role, content }) => ({ role: role === 'text' ? ('user' as const) : role, content }));
      const text = renderTemplate(theirs.chatTemplate ?? '', {
        messages,
        addGenerationPrompt: false,
        bosToken: '<bos>',
        eosToken: '<end>',
      });
      const ids = [...tokenizer.encode(text, { addSpecial: false })];
      if (ids.join() !== encodeDocument(document, encode).ids.join()) wrong.push(text);
    }
    expect(wrong).toEqual([]);
  });
});
