import { afterEach, expect, test } from 'vitest';
import { parsePromptFile, restore, unreadableRecords } from '../../src/storage/restore.ts';
import type { ModelRecord, RunRecord, TaskRecord } from '../../src/storage/types.ts';

const task: TaskRecord = {
  id: 't',
  name: 'Mails',
  type: 'classification',
  metricId: 'exact-match',
  seed: 7,
  shares: { train: 0.6, validation: 0.2, test: 0.2 },
  longestAnswer: 12,
  createdAt: 1,
  updatedAt: 2,
};
const model: ModelRecord = {
  id: 'm',
  name: 'Model',
  format: 'gguf',
  config: {
    architecture: 'llama',
    C: 64,
    L: 2,
    NH: 4,
    NKV: 2,
    HS: 16,
    F: 128,
    V: 288,
    context: 128,
    normEps: 1e-5,
    ropeTheta: 10000,
    ropeScaling: { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 64 },
    tied: true,
    stopIds: [1, 2],
  },
  files: [{ name: 'model.gguf', sha256: 'ab'.repeat(32), bytes: 10 }],
  bytes: 10,
  parameters: 100,
  weightTypes: 'Q4_1',
  hasTemplate: false,
  storage: 'f16',
  addedAt: 1,
  lastUsedAt: 1,
};
const run: RunRecord = {
  id: 'r',
  taskId: 't',
  method: 'lora',
  config: { rank: 4, targets: ['q_proj'] },
  model: 'm',
  dataset: { id: 't', version: 1 },
  prompt: { system: '', shots: [], cue: '', extract: 'whole' },
  seed: 1,
  startedAt: 1,
  status: 'fitting',
  steps: 10,
  step: 3,
  best: { step: 2, score: 0.5 },
  curves: { loss: [{ step: 1, value: Number.POSITIVE_INFINITY }] },
  samples: [],
  cost: { seconds: 1, peakBytes: 2, tokens: 3, extraTokensPerCall: 0, bytesToShip: 0 },
  checkpoint: { name: 'r.checkpoint', sha256: 'cd'.repeat(32), bytes: 4 },
};
const reported = (): number => unreadableRecords().length;
let before = 0;
afterEach(() => {
  before = reported();
});

test('whole records come back as they were', () => {
  before = reported();
  expect(restore('tasks', task)).toEqual(task);
  expect(restore('models', model)).toEqual(model);
  expect(restore('runs', run)).toEqual(run);
  const held: RunRecord = { ...run, heldAs: '8-bit', pinned: [{ name: 'a', messages: [{ role: 'user', content: 'A?' }] }] };
  expect(restore('runs', held)).toEqual(held);
  expect(reported()).toBe(before);
});

test('every way of holding a model comes back, those of older records too, and another does not', () => {
  for (const storage of ['as-is', 'f32', 'f16', '8-bit', '4-bit'] as const) {
    expect(restore('models', { ...model, storage })).toEqual({ ...model, storage });
  }
  expect(restore('models', { ...model, id: 'q', storage: 'q2' })).toBeUndefined();
});

test('a field that a newer version added is dropped, not refused', () => {
  expect(restore('tasks', { ...task, colour: 'blue' })).toEqual(task);
});

test('a record that is missing is no broken record', () => {
  before = reported();
  expect(restore('tasks', undefined)).toBeUndefined();
  expect(reported()).toBe(before);
});

test.each([
  ['a missing field', { ...task, id: 'a', metricId: undefined }],
  ['another type', { ...task, id: 'b', seed: '7' }],
  ['a name that is not known', { ...task, id: 'c', type: 'poetry' }],
  ['no object at all', 7],
  ['a prototype in place of a field', JSON.parse('{"id":"d","__proto__":{"name":"x"}}')],
])('%s is reported with its place and kept out', (_, value) => {
  before = reported();
  expect(restore('tasks', value)).toBeUndefined();
  expect(reported()).toBe(before + 1);
  expect(unreadableRecords().at(-1)?.problem).not.toBe('');
});

test('a blob that is named by anything but a hash is refused', () => {
  expect(restore('models', { ...model, id: 'e', files: [{ name: 'x', sha256: '../../escape', bytes: 1 }] })).toBeUndefined();
});

test('a prompt file is read, and what is wrong with another is said', () => {
  const prompt = { system: 'Be brief.', shots: [], cue: '', extract: 'whole' };
  const good = JSON.stringify({ format: 'maquette-prompt', version: 1, name: 'Brief', prompt });
  expect(parsePromptFile(good)).toMatchObject({ name: 'Brief', prompt });
  for (const bad of ['not json', '{}', JSON.stringify({ format: 'maquette-prompt', version: 2, name: 'x', prompt }), 'null', '[]']) {
    expect(() => parsePromptFile(bad)).toThrowError(expect.objectContaining({ code: 'prompt/unreadable' }));
  }
});
