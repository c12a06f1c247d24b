import { expect, test } from 'vitest';
import type { OptimizerState } from '../../src/engine/types.ts';
import type { Checkpoint } from '../../src/methods/types.ts';
import { decodeCheckpoint, encodeCheckpoint, type TensorPlace, tensorsOf } from '../../workers/engine/checkpoints.ts';

const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
const state = (step: number, first: number): OptimizerState => ({
  step,
  buffers: [
    { w: floats(first, 2, 3, 4), m: floats(5, 6, 7, 8), v: floats(9, 10, 11, 12) },
    { w: floats(13), m: floats(14), v: floats(15) },
  ],
});
const places: TensorPlace[] = [
  { name: 'A', shape: [1, 2], buffer: 0, offset: 0 },
  { name: 'B', shape: [2, 1], buffer: 0, offset: 8 },
  { name: 'C', shape: [1], buffer: 1, offset: 0 },
];
const checkpoint = (best?: OptimizerState): Checkpoint => ({
  optimizer: state(9, 1),
  epoch: 1,
  position: 2,
  randomCounter: 3,
  rateFactor: 0.5,
  sinceBest: 1,
  kernels: 'direct abc',
  ...(best === undefined ? {} : { best: { step: best.step, score: 0.5, loss: 1.25, optimizer: best } }),
});

test('a state comes back byte for byte', () => {
  for (const made of [checkpoint(), checkpoint(state(4, -1))]) {
    const back = decodeCheckpoint(encodeCheckpoint(made, places));
    expect(back.checkpoint).toEqual(made);
    expect(back.places).toEqual(places);
  }
});

test('a best state that is the present one is written once', () => {
  const now = checkpoint();
  const both: Checkpoint = { ...now, best: { step: 9, score: 1, loss: 1, optimizer: now.optimizer } };
  const bytes = encodeCheckpoint(both, places);
  expect(bytes.length).toBeLessThan(encodeCheckpoint(checkpoint(state(9, 1)), places).length);
  expect(decodeCheckpoint(bytes).checkpoint).toEqual(both);
});

test('tensors are found in their buffers by name', () => {
  const tensors = tensorsOf(state(1, -7), places);
  expect(tensors.get('A')?.data).toEqual(Float32Array.of(-7, 2));
  expect(tensors.get('B')).toEqual({ name: 'B', shape: [2, 1], data: Float32Array.of(3, 4) });
  expect(tensors.get('C')?.data).toEqual(Float32Array.of(13));
});

test('a file that is cut, padded or no checkpoint is refused', () => {
  const bytes = encodeCheckpoint(checkpoint(), places);
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  for (const bad of [
    new Uint8Array(2),
    bytes.subarray(0, bytes.length - 1),
    longer,
    bytes.subarray(0, 40),
    new TextEncoder().encode('\x02\0\0\0{}'),
  ]) {
    expect(() => decodeCheckpoint(bad)).toThrowError(expect.objectContaining({ code: 'storage/damaged' }));
  }
});

test('a tensor outside of its buffer is refused', () => {
  expect(() => tensorsOf(state(1, 1), [{ name: 'far', shape: [4], buffer: 0, offset: 8 }])).toThrowError(
    expect.objectContaining({ code: 'storage/damaged' }),
  );
});
