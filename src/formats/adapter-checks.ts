// What every adapter format checks alike: that factors belong to linears of the base, fit it, and come in pairs.
import { AppError } from '../lib/error.ts';
import { baseName, groups } from './bytes.ts';
import { shown } from './json.ts';
import { compareSites, type LinearSite, linearShape, moduleOfSite } from './llama-tensors.ts';
import type { ModelConfig, PortableLora } from './types.ts';

export const MAX_RANK = 4_096;

export interface Factor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}
export interface FactorPair {
  readonly site: LinearSite;
  A?: Factor;
  B?: Factor;
}

/** Pairs of one adapter, by module path, as they are found in a file. */
export type FactorPairs = Map<string, FactorPair>;

export function addFactor(pairs: FactorPairs, site: LinearSite, which: 'A' | 'B', factor: Factor): void {
  const module = moduleOfSite(site);
  const pair = pairs.get(module) ?? { site };
  if (pair[which] !== undefined) throw badAdapter(`the factor ${which} of ${shown(module)} stands in it twice`);
  pair[which] = factor;
  pairs.set(module, pair);
}

/** Pairs as modules in the order of the network, each checked against the base. `alphaOf` gives a module's own alpha, `rankOf` the rank its
 *  configuration claims, where the format has one. @throws 'adapter/other-base', 'adapter/damaged' */
export function modulesOf(
  pairs: FactorPairs,
  config: ModelConfig,
  alphaOf: (module: string, rank: number) => number,
  rankOf: (module: string) => number | undefined = () => undefined,
): readonly PortableLora[] {
  if (pairs.size === 0) throw badAdapter('it has no LoRA factors');
  const sorted = [...pairs].sort(([, a], [, b]) => compareSites(a.site, b.site));
  return sorted.map(([module, { site, A, B }]) => {
    if (A === undefined || B === undefined) throw badAdapter(`the factor ${A === undefined ? 'A' : 'B'} of ${shown(module)} is missing`);
    if (site.layer >= config.L)
      throw otherBase(`it changes layer ${site.layer + 1} and this model has ${config.L}`, { module, layers: config.L });
    const [out, inputs] = linearShape(config, site.linear.linear);
    const [rank, aIn] = A.shape;
    const [bOut, bRank] = B.shape;
    if (A.shape.length !== 2 || B.shape.length !== 2 || rank !== bRank || rank < 1)
      throw badAdapter(
        `the factors of ${shown(module)} have shapes [${A.shape.join(', ')}] and [${B.shape.join(', ')}], which cannot be multiplied`,
      );
    if (aIn !== inputs || bOut !== out)
      throw otherBase(`${shown(module)} is ${bOut} x ${aIn} in the adapter and ${out} x ${inputs} in this model`, { module });
    if (rank > MAX_RANK) throw badAdapter(`its rank is ${groups(rank)}; at most ${groups(MAX_RANK)} is read`);
    const claimed = rankOf(module);
    if (claimed !== undefined && claimed !== rank)
      throw badAdapter(`its configuration gives ${shown(module)} the rank ${claimed} and its tensors have rank ${rank}`);
    return { module, rank, alpha: alphaOf(module, rank), A: A.values, B: B.values, inFeatures: inputs, outFeatures: out };
  });
}

/** The most frequent value, the first of them where several are; what the adapter as a whole is said to have. */
export function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>();
  let best = values[0];
  for (const value of values) {
    counts.set(value, (counts.get(value) ?? 0) + 1);
    if ((counts.get(value) ?? 0) > (counts.get(best) ?? 0)) best = value;
  }
  return best;
}

/** What a module's BA is multiplied with: alpha / r, for rsLoRA alpha / sqrt(r) (Kalajdzievski 2023, arXiv:2312.03732). */
export function scaleOf(rank: number, alpha: number, rsLora: boolean): number {
  return alpha / (rsLora ? Math.sqrt(rank) : rank);
}

/** Sentences about tensors with NaN or infinity. */
export function nonFiniteWarnings(modules: readonly PortableLora[]): readonly string[] {
  const warnings: string[] = [];
  for (const { module, A, B } of modules) {
    let bad = 0;
    for (const values of [A, B]) for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) bad++;
    if (bad > 0)
      warnings.push(`${module} holds ${groups(bad)} numbers that are NaN or infinite. Answers with this adapter will be broken.`);
  }
  return warnings;
}

/** A file of that bare name, wherever it lies in the chosen folder. */
export function fileNamed(files: ReadonlyMap<string, Uint8Array>, name: string): Uint8Array | undefined {
  for (const [path, bytes] of files) if (baseName(path) === name) return bytes;
  return undefined;
}

export function otherBase(what: string, facts: Readonly<Record<string, string | number>> = {}): AppError {
  return new AppError('adapter/other-base', `This adapter was made for another base model: ${what}.`, {
    why: 'Its numbers only make sense on the model they were trained on.',
    fix: 'Open the model it was made for, then import the adapter again. Nothing was changed.',
    facts,
  });
}

export function unsupportedAdapter(what: string, fix: string, facts: Readonly<Record<string, string | number>> = {}): AppError {
  return new AppError('adapter/unsupported', `This adapter cannot be used here: ${what}.`, {
    why: 'Plain LoRA and rsLoRA on the linears of the layers are supported.',
    fix,
    facts,
  });
}

export function badAdapter(what: string): AppError {
  return new AppError('adapter/damaged', `This adapter cannot be read: ${what}.`, {
    why: 'Its files are damaged, incomplete, or of two different adapters.',
    fix: 'Get it again from where it came, all files together. Nothing was changed.',
  });
}
