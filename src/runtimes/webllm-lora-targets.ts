// Which weights of a model library adapters join, and an adapter's factors sorted onto them: q, k and v are one weight there, gate and up another.
import { AppError } from '../lib/error.ts';
import type { WebllmAdapter, WebllmFactors } from './types.ts';

/** One linear of the model within a (fused) weight of the library: some of its rows. */
export interface RowBlock {
  /** layers.3.self_attn.q_proj */
  readonly module: string;
  readonly begin: number;
  readonly end: number;
}
/** A weight of the library that adapters may join. */
export interface Target {
  /** layers.3.self_attn.qkv_proj */
  readonly name: string;
  /** Places in the library's list of parameters: the weight, or its codes and its scales. */
  readonly parameters: readonly number[];
  readonly inputs: number;
  readonly outputs: number;
  readonly blocks: readonly RowBlock[];
}
/** What a library's metadata says of its parameters. */
export interface LibraryParameter {
  readonly name: string;
  readonly shape: readonly number[];
}

const LINEAR = /^(?:model\.)?layers\.(\d+)\.(self_attn|mlp)\.(qkv_proj|c_attn|o_proj|gate_up_proj|down_proj)\.(weight|q_weight|q_scale)$/;
/** Codes of four bits in a word. */
const CODES = 8;

/** The targets of a library in the order of its layers, none where it is no decoder that we know. */
export function targetsOf(parameters: readonly LibraryParameter[]): readonly Target[] {
  const found = new Map<string, { readonly at: number[]; shape: readonly number[]; packed: boolean }>();
  for (const [at, { name, shape }] of parameters.entries()) {
    const match = LINEAR.exec(name);
    if (match === null) continue;
    const [, layer, group, linear, part] = match;
    const path = `layers.${layer}.${group}.${linear}`;
    const seen = found.get(path) ?? { at: [], shape: [], packed: false };
    seen.at.push(at);
    if (part !== 'q_scale') {
      seen.shape = shape;
      seen.packed = part === 'q_weight';
    }
    found.set(path, seen);
  }
  return [...found].map(([name, { at, shape, packed }]): Target => {
    const [outputs, columns] = shape;
    const inputs = packed ? columns * CODES : columns;
    // As many rows are q as o_proj takes numbers in; k and v share the rest.
    const attention = found.get(name.replace(/(qkv_proj|c_attn)$/, 'o_proj'));
    const q = attention === undefined ? 0 : attention.packed ? attention.shape[1] * CODES : attention.shape[1];
    return { name, parameters: at, inputs, outputs, blocks: blocksOf(name, outputs, q) };
  });
}

function blocksOf(name: string, outputs: number, q: number): readonly RowBlock[] {
  const cut = (names: readonly string[], sizes: readonly number[]): readonly RowBlock[] => {
    const path = name.slice(0, name.lastIndexOf('.'));
    const begins = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, 0));
    return names.map((linear, i) => ({ module: `${path}.${linear}`, begin: begins[i], end: begins[i] + sizes[i] }));
  };
  const kv = (outputs - q) / 2;
  if (/(qkv_proj|c_attn)$/.test(name)) return cut(['q_proj', 'k_proj', 'v_proj'], [q, kv, kv]);
  if (name.endsWith('gate_up_proj')) return cut(['gate_proj', 'up_proj'], [outputs / 2, outputs / 2]);
  return [{ module: name, begin: 0, end: outputs }];
}

/** The factors of an adapter that join one target, and the rows that each of them adds to. */
export interface Joined {
  readonly target: Target;
  readonly parts: readonly { readonly block: RowBlock; readonly factors: WebllmFactors }[];
}

const FIX = 'Use the adapter with the model that it was trained on.';

/** Sorts an adapter onto the targets of the loaded model.
 *  @throws 'webllm/adapter-base', 'webllm/adapter-module', 'webllm/adapter-shape' */
export function joinTargets(adapter: WebllmAdapter, base: string, targets: readonly Target[]): readonly Joined[] {
  if (adapter.base !== base)
    throw new AppError('webllm/adapter-base', 'The adapter was trained on another model than the one in web-llm.', {
      why: 'Its numbers are corrections to the weights of one model and mean nothing beside others, even of the same shape.',
      fix: FIX,
      facts: { adapter: adapter.base, loaded: base },
    });
  const left = new Map<string, WebllmFactors>();
  for (const factors of adapter.factors) {
    const module = factors.module.replace(/^(base_model\.model\.)?(model\.)?/, '');
    if (left.has(module)) throw moduleError(factors.module, 'it is there twice');
    left.set(module, factors);
  }
  const joined: Joined[] = [];
  for (const target of targets) {
    const parts = target.blocks.flatMap((block) => {
      const factors = left.get(block.module);
      if (factors === undefined) return [];
      left.delete(block.module);
      checkShape(factors, target.inputs, block.end - block.begin);
      return [{ block, factors }];
    });
    if (parts.length > 0) joined.push({ target, parts });
  }
  const [stranger] = left.values();
  if (stranger !== undefined) throw moduleError(stranger.module, 'the model in web-llm has no such linear');
  if (joined.length === 0) throw moduleError('', 'it has no factors');
  return joined;
}

function moduleError(module: string, why: string): AppError {
  return new AppError('webllm/adapter-module', `The adapter cannot be used in web-llm: ${module === '' ? '' : `of ${module} `}${why}.`, {
    why: 'Inside web-llm adapters join q, k, v, o, gate, up and down of each layer.',
    fix: `${FIX} Where it changes other parts, use it in our engine.`,
    facts: { module },
  });
}

function checkShape({ module, rank, a, b, scale }: WebllmFactors, inputs: number, outputs: number): void {
  const fits = Number.isInteger(rank) && rank > 0 && a.length === rank * inputs && b.length === outputs * rank && Number.isFinite(scale);
  if (fits) return;
  throw new AppError(
    'webllm/adapter-shape',
    `The adapter's factors of ${module} do not fit: the linear takes ${inputs} numbers and gives ${outputs}.`,
    {
      why: `With rank ${rank} they would be ${rank * inputs} and ${outputs * rank} numbers; they are ${a.length} and ${b.length}, with the scale ${scale}.`,
      fix: FIX,
      facts: { module, rank, inputs, outputs, a: a.length, b: b.length },
    },
  );
}
