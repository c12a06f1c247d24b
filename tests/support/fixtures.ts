// Fixtures: copies of random-weight ones beside the tests, everything else in ../shared/fixtures where that exists. Here too what several tests need of
// their format: tensors by name, widened, and a model's configuration.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { configFromHuggingFace } from '../../src/formats/hf-config.ts';
import { readSafetensors, tensorNumbers } from '../../src/formats/safetensors.ts';
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

/** Every tensor of a safetensors fixture in f64, which holds each of its number types exactly. */
export function fixtureTensors(name: string): Map<string, FixtureTensor> {
  const { tensors } = readSafetensors(new Uint8Array(readFileSync(fixture(name))), name);
  return new Map([...tensors].map(([key, tensor]) => [key, { shape: tensor.shape, data: tensorNumbers(tensor) }]));
}

/** Parsed JSON of a fixture. */
export function fixtureJson(name: string): unknown {
  return JSON.parse(readFileSync(fixture(name), 'utf8'));
}

/** The configuration of a model's fixture folder. */
export function fixtureConfig(folder: string): ModelConfig {
  const generation = findFixture(`${folder}/generation_config.json`) && fixtureJson(`${folder}/generation_config.json`);
  return configFromHuggingFace(fixtureJson(`${folder}/config.json`), generation);
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
