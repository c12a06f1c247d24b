// The engine over a fixture's safetensors, on the device of the tests.
import { readFileSync } from 'node:fs';
import { createEngine } from '../../src/engine/engine.ts';
import type { Engine, ModelConfig, StoragePlan } from '../../src/engine/types.ts';
import type { RawTensor, WeightType } from '../../src/formats/types.ts';
import { fixture, fixtureConfig } from './fixtures.ts';
import { testGpu } from './gpu.ts';

const TYPES: Readonly<Record<string, WeightType>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

/** The tensors of a safetensors file as a source hands them out. */
export function rawTensors(name: string): RawTensor[] {
  const file = readFileSync(fixture(name));
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, start)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return Object.entries(header)
    .filter(([key]) => key !== '__metadata__')
    .map(([key, { dtype, shape, data_offsets }]) => {
      const type = TYPES[dtype];
      if (type === undefined) throw new Error(`${key} is ${dtype}`);
      return { name: key, shape, dtype: type, bytes: new Uint8Array(file.subarray(start + data_offsets[0], start + data_offsets[1])) };
    });
}
export async function* stream<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

export async function testEngine(
  folder: string,
  storage: StoragePlan = 'f32',
  config: ModelConfig = fixtureConfig(folder),
): Promise<Engine> {
  const raw = rawTensors(`${folder}/model.safetensors`);
  return createEngine(
    await testGpu(),
    { config, tensorInfos: raw.map((t) => ({ ...t, bytes: t.bytes.length })), tensors: () => stream(raw) },
    { storage },
  );
}
