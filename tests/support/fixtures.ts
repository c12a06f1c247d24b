// Fixtures: copies of random-weight ones beside the tests, everything else in ../shared/fixtures where that exists. Here too what several tests need of
// their format: tensors by name, widened, and a model's configuration.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { ModelConfig } from '../../src/formats/types.ts';

const OWN = path.resolve(import.meta.dirname, '../fixtures');
const SHARED = path.resolve(import.meta.dirname, '../../../shared/fixtures');

/** Absolute path of a fixture's file or folder; undefined where this checkout has neither the copy nor ../shared. */
export function findFixture(name: string): string | undefined {
  return [OWN, SHARED].map((root) => path.join(root, name)).find((file) => existsSync(file));
}

export function fixture(name: string): string {
  const found = findFixture(name);
  if (found === undefined) throw new Error(`The fixture ${name} is neither in tests/fixtures nor in ../shared/fixtures.`);
  return found;
}

/** True where all are there; says on the console which one is not, so that a skipped test is seen. */
export function haveFixtures(...names: readonly string[]): boolean {
  const missing = names.filter((name) => findFixture(name) === undefined);
  if (missing.length > 0) console.log(`skipped: no ${missing.join(', ')} beside this checkout (../shared/fixtures)`);
  return missing.length === 0;
}

export interface FixtureTensor {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Every tensor of a safetensors fixture as f64, which holds each of F32, F16 and I32 exactly. A trusted file: nothing is checked. */
export function fixtureTensors(name: string): Map<string, FixtureTensor> {
  const file = readFileSync(fixture(name));
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    file.toString('utf8', 8, 8 + headerBytes),
  );
  const tensors = new Map<string, FixtureTensor>();
  for (const [key, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (key === '__metadata__') continue;
    const bytes = file.subarray(8 + headerBytes + data_offsets[0], 8 + headerBytes + data_offsets[1]);
    tensors.set(key, { shape, data: widen(dtype, bytes) });
  }
  return tensors;
}

function widen(dtype: string, bytes: Buffer): Float64Array {
  const count = bytes.length / (dtype === 'F16' ? 2 : 4);
  return Float64Array.from({ length: count }, (_, i) => {
    if (dtype === 'F32') return bytes.readFloatLE(4 * i);
    if (dtype === 'I32') return bytes.readInt32LE(4 * i);
    if (dtype === 'F16') return half(bytes.readUInt16LE(2 * i));
    throw new Error(`Fixtures have no tensors of type ${dtype}.`);
  });
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** Parsed JSON of a fixture. */
export function fixtureJson(name: string): unknown {
  return JSON.parse(readFileSync(fixture(name), 'utf8'));
}

/** The configuration of a Llama fixture folder. */
export function fixtureConfig(folder: string): ModelConfig {
  const c = fixtureJson(`${folder}/config.json`) as Record<string, number> & { rope_scaling?: Record<string, number> | null };
  const scaling = c.rope_scaling;
  return {
    architecture: 'llama',
    C: c.hidden_size,
    L: c.num_hidden_layers,
    NH: c.num_attention_heads,
    NKV: c.num_key_value_heads,
    HS: c.head_dim ?? c.hidden_size / c.num_attention_heads,
    F: c.intermediate_size,
    V: c.vocab_size,
    context: c.max_position_embeddings,
    normEps: c.rms_norm_eps,
    ropeTheta: c.rope_theta,
    ...(scaling
      ? {
          ropeScaling: {
            factor: scaling.factor,
            lowFreqFactor: scaling.low_freq_factor,
            highFreqFactor: scaling.high_freq_factor,
            originalContext: scaling.original_max_position_embeddings,
          },
        }
      : {}),
    tied: Boolean(c.tie_word_embeddings),
    stopIds: [c.eos_token_id],
  };
}

/** Largest absolute difference of two lists of one length. */
export function worstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`Lengths differ: ${a.length} and ${b.length}.`);
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= worst)) worst = difference; // a NaN stays
  }
  return worst;
}
