// Files that do not fit, one by one, against the real library of the fixture: each is refused by name before anything is stored, run or put on the GPU.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { AppError } from '../../src/lib/error.ts';
import type { WebllmFiles } from '../../src/runtimes/types.ts';
import { checkFiles } from '../../src/runtimes/webllm-check.ts';
import { withNames } from '../webllm/damage.ts';

const root = path.resolve(import.meta.dirname, '../..');
const read = (file: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(path.join(root, file)));
const FOLDER = 'tests/fixtures/quant/llama/mlc_q4f32_1';
const library = (name: string): Uint8Array<ArrayBuffer> => new Uint8Array(gunzipSync(read(`tests/webllm/libraries/${name}.wasm.gz`)));
const q4 = library('llama-q4f32_1');
const SHARD = 'params_shard_0.bin';
const good: WebllmFiles = {
  id: 'llama',
  chatConfig: read(`${FOLDER}/mlc-chat-config.json`),
  index: read(`${FOLDER}/tensor-cache.json`),
  tokenizer: read(`${FOLDER}/tokenizer.json`),
  shards: [{ name: SHARD, file: new Blob([read(`${FOLDER}/${SHARD}`)]) }],
  library: q4,
};
const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
/** A JSON file with another value at a key, or without it. */
function changed(file: Uint8Array, change: Readonly<Record<string, unknown>>): Uint8Array<ArrayBuffer> {
  return bytesOf(JSON.stringify({ ...JSON.parse(textOf(file)), ...change }));
}
const index = (change: (text: string) => string): Uint8Array<ArrayBuffer> => bytesOf(change(textOf(good.index)));
/** The first tensor of packed codes as plain floats of the same bytes. */
function floats(text: string): string {
  const json = JSON.parse(text);
  const found = json.records[0].records.find(({ dtype }: { dtype: string }) => dtype === 'uint32');
  Object.assign(found, { dtype: 'float32', format: 'raw' });
  return JSON.stringify(json);
}
const withoutModel = (change: object): Uint8Array<ArrayBuffer> =>
  changed(good.chatConfig, { model_config: {}, vocab_size: 288, context_window_size: 256, ...change });

test('the fixture itself fits, and web-llm gets a config of numbers alone', async () => {
  const { library: metadata, chatConfig, md5 } = await checkFiles(good);
  expect(metadata.quantization).toBe('q4f32_1');
  const config = JSON.parse(textOf(chatConfig));
  expect(config).toMatchObject({
    vocab_size: 288,
    context_window_size: 256,
    temperature: 0,
    repetition_penalty: 1,
    tokenizer_files: ['tokenizer.json'],
  });
  expect(Object.keys(config.conv_template.roles)).toEqual(['user', 'assistant']);
  const stated = JSON.parse(textOf(good.index)).records[0].md5sum;
  expect(md5.get(SHARD)).toBe(stated ?? undefined);
});

test('a context of 131 072 tokens is given to 4 096', async () => {
  const { chatConfig } = await checkFiles({ ...good, chatConfig: changed(good.chatConfig, { context_window_size: 131_072 }) });
  expect(JSON.parse(textOf(chatConfig)).context_window_size).toBe(4096);
});

const CASES: readonly (readonly [string, Partial<WebllmFiles>, string, string])[] = [
  ['a library of another quantization', { library: library('llama-q0f32') }, 'mlc/library-shape', 'asks for'],
  ['a library of another model', { library: library('stories260k-q0f32') }, 'mlc/library-shape', 'asks for'],
  [
    'a library that asks for an import of another version',
    { library: withNames(q4, [['fd_write', 'fd_wrote']]) },
    'mlc/library-version',
    'wasi_snapshot_preview1.fd_wrote',
  ],
  [
    'a library without a function, which only a text names',
    { library: withNames(q4, [['\0argsort_probs', '\0argsort_prob0']]) },
    'mlc/library-function',
    'argsort_probs',
  ],
  ['a library that is a web page', { library: bytesOf('<!doctype html><title>404</title>') }, 'mlc/library-not-wasm', 'first 8 bytes'],
  ['a library that was cut', { library: q4.slice(0, 1_000_000) }, 'mlc/library-not-wasm', 'end of the file'],
  [
    'a library with a sliding window',
    { library: withNames(q4, [['"sliding_window_size": -1', '"sliding_window_size": 64']]) },
    'webllm/library-kind',
    'state',
  ],
  [
    'a library with a recurrent state',
    { library: withNames(q4, [['"kv_state_kind": "kv_cache"', '"kv_state_kind": "hybrid"  ']]) },
    'webllm/library-kind',
    'state',
  ],
  ['no shards', { shards: [] }, 'mlc/shards-missing', SHARD],
  [
    'a shard that is short',
    { shards: [{ name: SHARD, file: new Blob([read(`${FOLDER}/${SHARD}`).slice(0, 1000)]) }] },
    'mlc/shard-size',
    'its index says',
  ],
  ['a tensor of another type in the index', { index: index(floats) }, 'mlc/library-shape', 'is uint32 in it and float32 in the shards'],
  [
    'an index that names a file elsewhere',
    { index: index((text) => text.replace(SHARD, `https://example.org/${SHARD}`)) },
    'mlc/index',
    'bare name',
  ],
  ['an index that is no JSON', { index: bytesOf('{') }, 'format/json', 'tensor-cache.json'],
  ['a chat config that is no JSON', { chatConfig: bytesOf('x') }, 'format/json', 'mlc-chat-config.json'],
  ['a chat config without a vocabulary', { chatConfig: withoutModel({ vocab_size: undefined }) }, 'mlc/chat-config', 'vocab_size'],
  ['a chat config of another vocabulary', { chatConfig: withoutModel({ vocab_size: 512 }) }, 'mlc/chat-config', 'its vocab_size is 512'],
  ['a tokenizer that is no JSON', { tokenizer: bytesOf('<html>') }, 'format/json', 'tokenizer.json'],
  ['a tokenizer that describes none', { tokenizer: bytesOf('{"version":"1.0"}') }, 'mlc/tokenizer', 'tokenizer.json'],
];
test.each(CASES)('%s is refused', async (_, change, code, words) => {
  const error = await checkFiles({ ...good, ...change }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AppError);
  expect(error).toMatchObject({ code, message: expect.stringContaining(words) });
  expect(error).toHaveProperty('fix', expect.stringMatching(/\.$/));
});

test('a chat config without a context takes that of the library', async () => {
  const { chatConfig } = await checkFiles({ ...good, chatConfig: withoutModel({ context_window_size: undefined }) });
  expect(JSON.parse(textOf(chatConfig)).context_window_size).toBe(256);
});
