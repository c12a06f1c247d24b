// Patches for tests: adapters of the fixtures, and seeded random ones.
import type { HostPart, HostTensor, Linear, ModelConfig } from '../../src/engine/types.ts';
import { LINEARS, linearName, linearShape } from '../../src/engine/weights.ts';
import { fixtureTensors } from './fixtures.ts';
import { randoms } from './kernels.ts';

const host = (name: string, shape: readonly number[], data: Float32Array): HostTensor => ({ name, shape, data });

/** The low-rank parts of a PEFT adapter file. */
export function adapterParts(file: string, scale: number): HostPart[] {
  const tensors = fixtureTensors(file);
  return [...tensors].flatMap(([name, { shape, data }]): HostPart[] => {
    const found = /layers\.(\d+)\.\w+\.(\w+_proj)\.lora_A\.weight$/.exec(name);
    const linear = LINEARS.find((l) => l === found?.[2]);
    if (found === null || linear === undefined) return [];
    const nameB = name.replace('lora_A', 'lora_B');
    const B = tensors.get(nameB)!;
    return [
      {
        kind: 'low-rank',
        site: { layer: Number(found[1]), linear },
        A: host(name, shape, Float32Array.from(data)),
        B: host(nameB, B.shape, Float32Array.from(B.data)),
        scale,
      },
    ];
  });
}

/** Seeded low-rank parts; `rank` by linear, 0 for none. */
export function randomAdapter(config: ModelConfig, rank: (linear: Linear) => number, sizeB: number, seed: number): HostPart[] {
  return Array.from({ length: config.L }, (_, layer) => layer).flatMap((layer) =>
    LINEARS.filter((linear) => rank(linear) > 0).map((linear, i): HostPart => {
      const [out, input] = linearShape(config, linear);
      const R = rank(linear);
      const name = linearName(layer, linear);
      const numbers = (n: number, size: number, salt: number): Float32Array =>
        randoms(n, seed + 1000 * layer + 10 * i + salt).map((x) => x * size);
      return {
        kind: 'low-rank',
        site: { layer, linear },
        A: host(`${name}.lora_A`, [R, input], numbers(R * input, 0.2, 1)),
        B: host(`${name}.lora_B`, [out, R], numbers(out * R, sizeB, 2)),
        scale: 2,
      };
    }),
  );
}

/** Every tensor of a model file as a `weights` part. */
export function weightsParts(file: string): HostPart[] {
  return [...fixtureTensors(file)].map(([name, { shape, data }]) => ({
    kind: 'weights',
    name,
    values: host(name, shape, Float32Array.from(data)),
  }));
}
