// What web-llm will take of the GPU, by parts. The browser test holds the sums against a counting device; here they are counted by hand.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { memorySource } from '../../src/formats/bytes.ts';
import { readMlcLibrary } from '../../src/formats/mlc-library.ts';
import { fitsBeside, planWebllmBytes } from '../../src/runtimes/webllm-memory.ts';

const root = path.resolve(import.meta.dirname, '../..');
const metadata = async (file: string) =>
  (await readMlcLibrary(memorySource(file, new Uint8Array(gunzipSync(readFileSync(path.join(root, file))))))).metadata;
const LLAMA = { L: 2, NH: 4, NKV: 2, HS: 16, C: 64, F: 128, V: 288, context: 256 };

/** Bytes that a counting device saw after a prompt of 200 tokens and an answer, SwiftShader. */
const COUNTED: readonly (readonly [string, number])[] = [
  ['tests/webllm/libraries/llama-q0f32.wasm.gz', 1_518_868],
  ['tests/webllm/libraries/llama-q4f32_1.wasm.gz', 1_207_828],
];
test.each(COUNTED)('%s: the plan is within 10 % of what a counting device saw', async (file, counted) => {
  const { total } = planWebllmBytes(LLAMA, await metadata(file));
  console.log(`${file}: ${total} planned, ${counted} counted, ${((100 * total) / counted).toFixed(1)} %`);
  expect(Math.abs(total - counted) / counted).toBeLessThan(0.1);
});

test('weights are those of the library by type, the cache that of the context, the workspace that of the chunk', async () => {
  const library = await metadata('tests/webllm/libraries/llama-q0f32.wasm.gz');
  const plan = planWebllmBytes(LLAMA, library);
  // Embedding (tied) 288 x 64, a layer's 128 x 64 + 64 x 64 + 256 x 64 + 64 x 128 + 2 x 64, a norm.
  const tied = library.params.every(({ name }) => !name.startsWith('lm_head'));
  expect(plan.weights).toBe(4 * (288 * 64 * (tied ? 1 : 2) + 2 * (128 * 64 + 64 * 64 + 256 * 64 + 64 * 128 + 2 * 64) + 64));
  const longer = planWebllmBytes({ ...LLAMA, context: 512 }, library);
  // 16 pages more of 16 tokens: keys and values of 2 layers, 2 heads, 16 numbers; and 16 places in 2 tables.
  expect(longer.cache - plan.cache).toBe(16 * 2 * 2 * 2 * 16 * 16 * 4 + 2 * 16 * 4);
  expect(longer.workspace).toBe(plan.workspace);
  // Web-llm is given 4 096 tokens of a context at most.
  expect(planWebllmBytes({ ...LLAMA, context: 131_072 }, library)).toEqual(planWebllmBytes({ ...LLAMA, context: 4096 }, library));
  const half = planWebllmBytes(LLAMA, { ...library, quantization: 'q0f16' });
  expect(half.cache).toBeLessThan(plan.cache);
  // A library that says nothing of its memory is planned from its widths.
  const silent = planWebllmBytes(LLAMA, { ...library, memory_usage: undefined });
  expect(Math.abs(silent.total - plan.total) / plan.total).toBeLessThan(0.1);
});

test('two engines share a GPU only where both plans fit', async () => {
  const plan = planWebllmBytes(LLAMA, await metadata('tests/webllm/libraries/llama-q0f32.wasm.gz'));
  expect(fitsBeside(plan, 0)).toBe(true);
  expect(fitsBeside(plan, 2 ** 30 - plan.total)).toBe(true);
  expect(fitsBeside(plan, 2 ** 30 - plan.total + 1)).toBe(false);
  expect(fitsBeside(plan, 1000, plan.total)).toBe(false);
});
