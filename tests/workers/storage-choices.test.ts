// What is offered for a choice of files: every way of holding the model that differs, with its memory, and a word where 4 bits are there already.
import { expect, test } from 'vitest';
import { planModel } from '../../src/engine/weights.ts';
import type { PickedFile, StorageChoice } from '../../src/rpc/contract.ts';
import { choiceName, shortStorage } from '../../src/ui/storage-words.ts';
import { storageChoices } from '../../workers/engine/memory.ts';
import { inspectModel } from '../../workers/engine/models.ts';
import { fixtureBytes, fixtureFiles } from '../support/files.ts';
import { fixtureConfig } from '../support/fixtures.ts';

const gguf = (type: string): PickedFile[] => [
  { path: 'model.gguf', file: new Blob([fixtureBytes(`quant/llama/gguf_${type}/model.gguf`)]) },
];
const folder = (name: string): PickedFile[] =>
  [...fixtureFiles(`models/${name}`)]
    .filter(([file]) => !file.startsWith('expected'))
    .map(([file, bytes]) => ({ path: `${name}/${file}`, file: new Blob([bytes.slice()]) }));
const plans = (choices: readonly StorageChoice[]): string[] => choices.map(({ storage }) => storage);
const names = (choices: readonly StorageChoice[]): string[] => choices.map(choiceName);

test('full precision: exact floats, half floats, 8 bits, and 4 bits beside an 8-bit embedding', async () => {
  const { choices, notes } = await inspectModel(folder('llama'));
  expect(names(choices)).toEqual(['Exact floats (F32)', 'Half floats (F16)', '8-bit (Q8_0)', '4-bit (Q4_1 and Q8_0)']);
  expect(choices.map(({ exact }) => exact)).toEqual([true, false, false, false]);
  expect(choices.map(({ recommended }) => recommended)).toEqual([true, false, false, false]);
  const config = fixtureConfig('models/llama');
  for (const { storage, weightBytes, chatBytes, trainBytes } of choices) {
    expect(weightBytes).toBe(planModel(config, storage).weights);
    expect(chatBytes).toBeGreaterThan(weightBytes);
    expect(trainBytes).toBeGreaterThan(chatBytes);
  }
  expect(choices.map(({ weightBytes }) => weightBytes)).toEqual(choices.map(({ weightBytes }) => weightBytes).toSorted((a, b) => b - a));
  expect(notes.join(' ')).not.toContain('4 bits');
});

test('bfloat16 is held as it is', async () => {
  const { choices } = await inspectModel(folder('llama_bf16_sharded'));
  expect(plans(choices)).toEqual(['as-is', 'f32', 'f16', '8-bit', '4-bit']);
  expect(choiceName(choices[0])).toBe('As it is (BF16)');
  expect(choices[0].recommended).toBe(true);
  expect(choices[0].weightBytes).toBe(choices[2].weightBytes);
});

test('a GGUF of blocks is proposed as it is, and what has 4 bits already is said', async () => {
  const eight = await inspectModel(gguf('q8_0'));
  expect(names(eight.choices)).toEqual(['As it is (Q8_0)', 'Exact floats (F32)', 'Half floats (F16)', '4-bit (Q4_1 and Q8_0)']);
  expect(eight.notes.map(({ code }) => code)).not.toContain('model/four-bits-already');
  for (const type of ['q4_0', 'q4_1']) {
    const { choices, notes } = await inspectModel(gguf(type));
    const name = type.toUpperCase();
    expect(names(choices)).toEqual([`As it is (${name})`, 'Exact floats (F32)', 'Half floats (F16)', '8-bit (Q8_0)']);
    expect(choices[0]).toMatchObject({ exact: true, recommended: true });
    expect(notes.find(({ code }) => code === 'model/four-bits-already')?.text).toContain(`Its weights have 4 bits already (${name}).`);
  }
});

test('plans that come to the same are offered once', () => {
  const config = { ...fixtureConfig('models/llama'), C: 36, HS: 12, F: 44 };
  expect(plans(storageChoices(config, []))).toEqual(['f32', 'f16']);
});

test('a line with little room has the plan, or the types of a file that is held as it is', () => {
  expect(shortStorage('8-bit', { weightTypes: 'F32' })).toBe('8-bit');
  expect(shortStorage('as-is', { weightTypes: 'BF16' })).toBe('BF16');
  expect(shortStorage('as-is', undefined)).toBe('as it is');
});
