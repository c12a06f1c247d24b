// Model libraries and conv_template: what is read of them without running anything. The library here is assembled of WebAssembly sections, as TVM lays them out.
import { Template } from '@huggingface/jinja';
import { expect, test } from 'vitest';
import { memorySource } from '../../src/formats/bytes.ts';
import { readMlcIndex } from '../../src/formats/mlc-index.ts';
import { checkMlcLibrary, NEEDED_FUNCTIONS, readMlcLibrary } from '../../src/formats/mlc-library.ts';
import { mlcStops, mlcTemplate } from '../../src/formats/mlc-template.ts';
import { openModel } from '../../src/formats/open-model.ts';
import { fixtureFiles, fixtureSource, fixtureSources } from '../support/files.ts';

const FOLDER = 'quant/llama/mlc_q4f32_1';
const encode = (text: string): number[] => [...new TextEncoder().encode(text)];
function leb(n: number): number[] {
  return n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)];
}
const name = (text: string): number[] => [...leb(encode(text).length), ...encode(text)];
const section = (id: number, body: readonly number[]): number[] => [id, ...leb(body.length), ...body];

async function index() {
  const folder = new Map([...fixtureFiles(FOLDER)].map(([file, bytes]) => [file, memorySource(file, bytes)]));
  return readMlcIndex(fixtureSource(`${FOLDER}/tensor-cache.json`), folder);
}
interface Made {
  readonly imports?: readonly string[];
  readonly functions?: readonly string[];
  readonly change?: (json: string) => string;
}
async function library({ imports = ['fd_write', 'proc_exit'], functions = NEEDED_FUNCTIONS, change = (json) => json }: Made = {}) {
  const { tensors } = await index();
  const params = [...tensors.values()].map(({ name: tensor, shape, dtype }) => ({ name: tensor, shape, dtype }));
  const metadata = change(
    JSON.stringify({ quantization: 'q4f32_1', note: 'a brace } in a text', model_type: 'llama', params, memory_usage: { prefill: 1 } }),
  );
  const data = [...encode(functions.join('\0')), 0, ...encode(metadata), 0];
  const bytes = [
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(2, [...leb(imports.length), ...imports.flatMap((wanted) => [...name('wasi_snapshot_preview1'), ...name(wanted), 0, 0])]),
    ...section(11, [1, 0, 0x41, 0, 0x0b, ...leb(data.length), ...data]),
  ];
  return Uint8Array.from(bytes);
}
const read = async (bytes: Uint8Array) => readMlcLibrary(memorySource('x.wasm', bytes));

test('metadata, imports and functions are read, and a library of these shards fits them', async () => {
  const found = await read(await library());
  expect(found.metadata.model_type).toBe('llama');
  expect(found.imports).toEqual(['wasi_snapshot_preview1.fd_write', 'wasi_snapshot_preview1.proc_exit']);
  expect(found.functions.size).toBe(NEEDED_FUNCTIONS.length);
  checkMlcLibrary(found, await index());
  // Web-llm takes the functions of batches as well, where both are there.
  const batched = NEEDED_FUNCTIONS.map((f) => (f === 'prefill' || f === 'decode' ? `batch_${f}` : f));
  checkMlcLibrary(await read(await library({ functions: batched })), await index());
  // TVM stores a name after its length, and whatever follows may look like a letter.
  const stored = NEEDED_FUNCTIONS.map((f) => `${String.fromCharCode(f.length)}${'\0'.repeat(7)}${f}abc`);
  expect((await read(await library({ functions: stored }))).functions.size).toBe(NEEDED_FUNCTIONS.length);
});

test.each<[string, Made, string]>([
  ['another shape', { change: (json) => json.replace('[288,8]', '[288,16]') }, 'mlc/library-shape'],
  ['another number type', { change: (json) => json.replace('"float32"', '"float16"') }, 'mlc/library-shape'],
  ['a tensor more', { change: (json) => json.replace('model.norm.weight', 'model.other.weight') }, 'mlc/library-shape'],
  ['no function prefill', { functions: NEEDED_FUNCTIONS.filter((wanted) => wanted !== 'prefill') }, 'mlc/library-function'],
  [
    'only a text that names the function',
    { functions: NEEDED_FUNCTIONS.map((f) => (f === 'decode' ? 'ErrorContext(fn=decode, loc=return)' : f)) },
    'mlc/library-function',
  ],
  [
    'the prefill of batches alone',
    { functions: NEEDED_FUNCTIONS.map((f) => (f === 'prefill' ? 'batch_prefill' : f)) },
    'mlc/library-function',
  ],
  [
    'only a function whose name begins alike',
    { functions: NEEDED_FUNCTIONS.map((f) => (f === 'decode' ? 'decode_more' : f)) },
    'mlc/library-function',
  ],
])('a library with %s is refused', async (_, made, code) => {
  const [found, own] = [await read(await library(made)), await index()];
  expect(() => checkMlcLibrary(found, own)).toThrow(expect.objectContaining({ code }));
});

test('an import that the installed web-llm does not give names another version', async () => {
  const [found, own] = [await read(await library({ imports: ['fd_write', 'reset_thread_pool'] })), await index()];
  const provides = new Set(['wasi_snapshot_preview1.fd_write']);
  expect(() => checkMlcLibrary(found, own, provides)).toThrow(expect.objectContaining({ code: 'mlc/library-version' }));
});

test('what is no wasm, was cut, or describes no model is refused', async () => {
  const whole = await library();
  await expect(read(new TextEncoder().encode('<!doctype html>'))).rejects.toMatchObject({ code: 'mlc/library-not-wasm' });
  for (const end of [0, 5, 9, 20, whole.length - 1])
    await expect(read(whole.subarray(0, end))).rejects.toMatchObject({ code: 'mlc/library-not-wasm' });
  await expect(read(await library({ change: () => '{}' }))).rejects.toMatchObject({ code: 'mlc/library-no-metadata' });
});

test('a fitting library is kept with the model; one that does not fit is named and left out', async () => {
  const files = fixtureSources(FOLDER).filter((file) => !file.name.includes('expected.'));
  const open = (bytes: Uint8Array) => openModel([...files, memorySource('mlc_q4f32_1/lib.wasm', bytes)]);
  const good = await open(await library());
  expect(good.library).toEqual({ name: 'mlc_q4f32_1/lib.wasm' });
  expect(good.files.map((file) => file.name)).toContain('mlc_q4f32_1/lib.wasm');
  const bad = await open(new Uint8Array(100));
  expect(bad.library?.problem?.code).toBe('mlc/library-not-wasm');
  expect(bad.files.map((file) => file.name)).not.toContain('mlc_q4f32_1/lib.wasm');
  expect((await openModel(files)).library).toEqual({});
});

const CHATML = {
  name: 'chatml',
  system_template: '<|im_start|>system\n{system_message}<|im_end|>\n',
  system_message: 'Be "kind".',
  roles: { user: '<|im_start|>user', assistant: '<|im_start|>assistant' },
  role_templates: { user: '{user_message}', assistant: '{assistant_message}' },
  seps: ['<|im_end|>\n'],
  role_content_sep: '\n',
  role_empty_sep: '\n',
  stop_str: ['<|im_end|>', 'several tokens'],
  stop_token_ids: [2],
};
const TOKENIZER = {
  added_tokens: [
    { id: 1, content: '<s>' },
    { id: 3, content: '<|im_end|>' },
  ],
};
const render = (conversation: object, messages: readonly { role: string; content: string }[]): string =>
  new Template(mlcTemplate(conversation, TOKENIZER) ?? '').render({ messages, add_generation_prompt: true });

test('conv_template becomes a layout and stops', () => {
  const user = { role: 'user', content: "it's \\n" };
  expect(render(CHATML, [user])).toBe(
    '<|im_start|>system\nBe "kind".<|im_end|>\n<|im_start|>user\nit\'s \\n<|im_end|>\n<|im_start|>assistant\n',
  );
  expect(render(CHATML, [{ role: 'system', content: 'S' }, user, { role: 'assistant', content: 'A' }, user])).toBe(
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nit's \\n<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nit's \\n<|im_end|>\n<|im_start|>assistant\n",
  );
  expect(mlcStops(CHATML, TOKENIZER)).toEqual([2, 3]);
  expect(mlcTemplate({ name: 'chatml' }, TOKENIZER)).toBeUndefined();
});

test('a first message may go on from the system text, after a begin token, with two separators', () => {
  const llama2 = {
    system_template: '[INST] <<SYS>>\n{system_message}\n<</SYS>>\n\n',
    system_message: 'D',
    system_prefix_token_ids: [1],
    add_role_after_system_message: false,
    roles: { user: '[INST]', assistant: '[/INST]' },
    seps: [' ', ' </s>'],
    role_content_sep: ' ',
    role_empty_sep: ' ',
  };
  const messages = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
    { role: 'user', content: 'c' },
  ];
  expect(render(llama2, messages)).toBe('<s>[INST] <<SYS>>\nD\n<</SYS>>\n\na [/INST] b </s>[INST] c [/INST] ');
  expect(() => mlcTemplate({ ...llama2, system_prefix_token_ids: [9] }, TOKENIZER)).toThrow(
    expect.objectContaining({ code: 'mlc/chat-config' }),
  );
  expect(() => mlcTemplate({ ...llama2, seps: [] }, TOKENIZER)).toThrow(expect.objectContaining({ code: 'mlc/chat-config' }));
});
