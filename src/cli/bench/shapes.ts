// Models to measure with: sizes, the work of a step, and seeded random weights of those sizes, made one tensor at a time.
import type { HostPart, StoragePlan } from '../../engine/types.ts';
import { LINEARS, linearName, linearShape, weightShapes } from '../../engine/weights.ts';
import type { ModelConfig, RawTensor } from '../../formats/types.ts';
import { hashText, seededRandom } from '../../lib/random.ts';

export type What = 'train' | 'prefill' | 'decode' | 'score';
export const WHATS: readonly What[] = ['train', 'decode', 'prefill', 'score'];

export interface Shape {
  readonly name: string;
  readonly config: ModelConfig;
  readonly storage: StoragePlan;
  /** What is measured. */
  readonly which: readonly What[];
  /** Of a LoRA step: rows, tokens a row, rank on all seven linears. */
  readonly B: number;
  readonly T: number;
  readonly rank: number;
  readonly warmup: number;
  readonly steps: number;
  /** Tokens that decoding makes a row. */
  readonly made: number;
}

const llama = { architecture: 'llama', normEps: 1e-5, ropeTheta: 10_000, tied: true, stopIds: [] } as const;
const often = { storage: 'f32', which: WHATS, warmup: 3, steps: 10, made: 32 } as const;
/** A and B are the configurations of tests/peers; smollm2-135m has the sizes of that model, T and rank of a usual run. */
export const SHAPES: readonly Shape[] = [
  { name: 'tiny', config: { ...llama, C: 32, L: 2, NH: 4, NKV: 2, HS: 8, F: 48, V: 64, context: 128 }, B: 2, T: 16, rank: 4, ...often },
  { name: 'A', config: { ...llama, C: 64, L: 5, NH: 8, NKV: 4, HS: 8, F: 172, V: 512, context: 512 }, B: 4, T: 128, rank: 8, ...often },
  { name: 'B', config: { ...llama, C: 288, L: 6, NH: 6, NKV: 6, HS: 48, F: 768, V: 2048, context: 512 }, B: 2, T: 128, rank: 8, ...often },
  {
    name: 'smollm2-135m',
    config: { ...llama, C: 576, L: 30, NH: 9, NKV: 3, HS: 64, F: 1536, V: 49_152, context: 2048, ropeTheta: 100_000 },
    ...{ storage: '8-bit', which: ['train', 'decode'], B: 1, T: 128, rank: 16, warmup: 0, steps: 2, made: 16 },
  },
];

/** Uniform numbers of standard deviation 1 / sqrt(inputs), the gains 1: losses start near ln V, and nothing overflows. */
export async function* randomTensors(config: ModelConfig): AsyncGenerator<RawTensor> {
  for (const [name, shape] of weightShapes(config)) {
    const inputs = shape[shape.length - 1];
    const values = shape.length === 1 ? new Float32Array(inputs).fill(1) : uniform(name, shape[0] * inputs, Math.sqrt(3 / inputs));
    yield { name, shape, dtype: 'f32', bytes: new Uint8Array(values.buffer) };
  }
}

/** LoRA on all linears as PEFT starts it: A random, B zero. */
export function loraParts(config: ModelConfig, rank: number): HostPart[] {
  return Array.from({ length: config.L }, (_, layer) =>
    LINEARS.map((linear): HostPart => {
      const [out, input] = linearShape(config, linear);
      const name = `base_model.model.${linearName(layer, linear).replace(/\.weight$/, '')}`;
      const [a, b] = [`${name}.lora_A.weight`, `${name}.lora_B.weight`];
      return {
        kind: 'low-rank',
        site: { layer, linear },
        A: { name: a, shape: [rank, input], data: uniform(a, rank * input, 1 / Math.sqrt(input)) },
        B: { name: b, shape: [out, rank], data: new Float32Array(out * rank) },
        scale: 2,
      };
    }),
  ).flat();
}
/** Numbers of `loraParts`. */
export function loraValues(config: ModelConfig, rank: number): number {
  return LINEARS.reduce((sum, linear) => sum + rank * (linearShape(config, linear)[0] + linearShape(config, linear)[1]), 0) * config.L;
}

export function randomTokens(name: string, count: number, V: number): Uint32Array {
  const random = seededRandom(hashText(name));
  return Uint32Array.from({ length: count }, () => random.below(V));
}

function uniform(name: string, count: number, bound: number): Float32Array<ArrayBuffer> {
  const random = seededRandom(hashText(name));
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = (2 * random.next() - 1) * bound;
  return values;
}
