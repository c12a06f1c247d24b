// Where the six kinds of Part join the network: `low-rank` and `weights` now. A patch's tensors lie in a few buffers, so that one AdamW dispatch a buffer
// updates them; the gradient and the two moments of a tensor lie at the same offset in three more buffers.
import { AppError } from '../lib/error.ts';
import type { LowRankGroup, LowRankSite, Matrix } from './calls.ts';
import {
  aligned,
  allocating,
  createBuffer,
  createTensor,
  destroyBuffer,
  download,
  elements,
  type Gpu,
  MAX_BINDING_BYTES,
  type MemoryKind,
  upload,
} from './gpu.ts';
import type { HostPart, HostTensor, Linear, ModelConfig, Part, Patch, PatchOptions, Tensor } from './types.ts';
import { LINEARS, type LoadedWeights, linearShape, type ModelWeights, replaceWeights, shardRows, weightShapes } from './weights.ts';

/** Linears that read the same input, and so share a dispatch of lora_down. */
export type GroupName = 'qkv' | 'o' | 'gateUp' | 'down';
export const GROUPS: readonly { readonly name: GroupName; readonly linears: readonly Linear[] }[] = [
  { name: 'qkv', linears: ['q_proj', 'k_proj', 'v_proj'] },
  { name: 'o', linears: ['o_proj'] },
  { name: 'gateUp', linears: ['gate_proj', 'up_proj'] },
  { name: 'down', linears: ['down_proj'] },
];

/** One buffer of trained numbers as a tensor (n), and at the same offsets their gradients and AdamW's moments. All of it decays, or none of it does. */
export interface PatchBuffer {
  readonly w: Tensor;
  readonly decay: boolean;
  readonly training?: { readonly g: Tensor; readonly m: Tensor; readonly v: Tensor };
}
/** A patch with what the engine knows of it. */
export interface LoadedPatch extends Patch {
  readonly id: number;
  readonly buffers: readonly PatchBuffer[];
  /** Low-rank sites of each layer, by the input that they share. */
  readonly groups: readonly Readonly<Partial<Record<GroupName, LowRankGroup>>>[];
  /** The base with this patch's `weights` parts in place. */
  readonly weights: ModelWeights;
  /** The tensors of `weights` parts, by the Hugging Face name that they replace. */
  readonly replaced: ReadonlyMap<string, Tensor>;
  /** Scale times strength of each low-rank site (n), written before a run. */
  readonly scales: Tensor;
  readonly seed: number;
  /** As in PatchOptions. */
  readonly recompute: boolean;
  /** Rejects with 'gpu/out-of-memory' where its buffers could not be had; awaited before its first use. */
  readonly ready: Promise<void>;
  readonly kind: MemoryKind;
  /** The strength that `scales` holds now. */
  written: number;
}

type LowRank<T> = Extract<HostPart, { kind: 'low-rank' }> & { readonly A: T };
type Weights = Extract<HostPart, { kind: 'weights' }>;

/** Tensors that must stand one after the other in one buffer. */
interface Run {
  readonly tensors: readonly HostTensor[];
  readonly decay: boolean;
}

let patches = 0;

/** @throws 'adapter/other-base' on a site, name or shape that this model lacks, 'engine/part-unsupported' */
export function createPatch(
  gpu: Gpu,
  config: ModelConfig,
  base: LoadedWeights,
  parts: readonly HostPart[],
  options: PatchOptions,
): LoadedPatch {
  const lowRank: LowRank<HostTensor>[] = [];
  const whole: Weights[] = [];
  for (const part of parts) {
    if (part.kind === 'low-rank' && part.magnitude === undefined) lowRank.push(part);
    else if (part.kind === 'weights') whole.push(part);
    else throw unsupported(part.kind === 'low-rank' ? 'Low-rank parts with a magnitude (DoRA)' : `Parts of the kind ${part.kind}`);
  }
  check(config, lowRank, whole);
  const find = (layer: number, linear: Linear): LowRank<HostTensor> | undefined =>
    lowRank.find(({ site }) => site.layer === layer && site.linear === linear);
  const runs: HostTensor[][] = [];
  for (let layer = 0; layer < config.L; layer++) {
    for (const { linears } of GROUPS) {
      const sites = linears.map((linear) => find(layer, linear)).filter((part) => part !== undefined);
      if (sites.length > 0)
        runs.push(
          sites.map((part) => part.A),
          sites.map((part) => part.B),
        );
    }
  }
  const places = layOut([...runs, ...whole.map((part) => [part.values])].map((tensors) => asRun(tensors, options)));

  const kind: MemoryKind = options.trainable ? 'training' : 'weights';
  const copies = options.trainable ? 4 : 1;
  const bytes = places.buffers.reduce((sum, buffer) => sum + buffer.bytes * copies, 0);
  const buffers: PatchBuffer[] = [];
  const scales: Tensor[] = [];
  const ready = allocating(gpu, options.trainable ? 'Training this' : 'This adapter', bytes, () => {
    for (const buffer of places.buffers) {
      const one = (name: string): Tensor => ({
        buffer: createBuffer(gpu, name, kind, buffer.bytes),
        offset: 0,
        shape: [buffer.bytes / 4],
        dtype: 'f32',
      });
      const w = one('patch w');
      const training = options.trainable ? { training: { g: one('patch g'), m: one('patch m'), v: one('patch v') } } : {};
      buffers.push({ w, decay: buffer.decay, ...training });
    }
    scales.push(createTensor(gpu, 'patch scales', kind, [Math.max(1, lowRank.length)]));
  });
  ready.catch(() => undefined); // thrown where the patch is first used

  const tensors = new Map<string, Tensor>();
  for (const { tensor, buffer, offset } of places.tensors) {
    const placed: Tensor = { buffer: buffers[buffer].w.buffer, offset, shape: tensor.shape, dtype: 'f32' };
    tensors.set(tensor.name, placed);
    upload(gpu, placed, tensor.data);
  }
  const place = (tensor: HostTensor): Tensor => tensors.get(tensor.name)!;
  const placedParts: Part[] = [
    ...lowRank.map((part): Part => ({ kind: 'low-rank', site: part.site, A: place(part.A), B: place(part.B), scale: part.scale })),
    ...whole.map((part): Part => ({ kind: 'weights', name: part.name, values: place(part.values) })),
  ];
  const replaced = new Map(whole.map((part) => [part.name, place(part.values)]));
  return {
    parts: placedParts,
    tensors,
    strength: 1,
    trainable: options.trainable,
    dropout: options.dropout ?? 0,
    id: ++patches,
    buffers,
    groups: Array.from({ length: config.L }, (_, layer) => groupsOf(layer, placedParts)),
    weights: replaceWeights(config, base, new Map([...replaced].map(([name, tensor]) => [name, matrixOf(tensor)]))),
    replaced,
    scales: scales[0],
    seed: options.seed ?? 0,
    recompute: options.recompute ?? false,
    ready,
    kind,
    written: Number.NaN,
  };
}

/** The gradient or a moment of one of the patch's tensors. */
export function trainingTensor(patch: LoadedPatch, tensor: Tensor, which: 'g' | 'm' | 'v'): Tensor {
  const home = patch.buffers.find(({ w }) => w.buffer === tensor.buffer);
  if (home?.training === undefined) throw new AppError('engine/not-trainable', 'This patch was made for use alone, and has no gradients.');
  return { ...tensor, buffer: home.training[which].buffer };
}

/** Puts scale times strength in place for the next run. Training always runs at 1. */
export function writeStrength(gpu: Gpu, patch: LoadedPatch, strength: number): void {
  if (patch.written === strength) return;
  const scales = patch.parts.filter((part) => part.kind === 'low-rank').map((part) => part.scale * strength);
  if (scales.length > 0) upload(gpu, patch.scales, Float32Array.from(scales));
  patch.written = strength;
}

export async function readPatch(gpu: Gpu, patch: LoadedPatch): Promise<ReadonlyMap<string, HostTensor>> {
  await patch.ready;
  const host = new Map<string, HostTensor>();
  for (const [name, tensor] of patch.tensors) host.set(name, { name, shape: tensor.shape, data: await download(gpu, tensor) });
  return host;
}

export function disposePatch(gpu: Gpu, patch: LoadedPatch): void {
  for (const { w, training } of patch.buffers) {
    for (const tensor of [w, ...(training === undefined ? [] : [training.g, training.m, training.v])])
      destroyBuffer(gpu, patch.kind, tensor.buffer);
  }
  destroyBuffer(gpu, patch.kind, patch.scales.buffer);
}

/** Bytes of the buffers that patches of these tensors take, without gradients and moments. */
export function patchBytes(shapes: readonly (readonly number[])[]): number {
  return shapes.reduce((sum, shape) => sum + aligned(4 * elements(shape)), 0);
}

/** A trained tensor as shards that fit a binding. */
function matrixOf(tensor: Tensor): Matrix {
  if (tensor.shape.length === 1) return [{ tensor, first: 0 }];
  return shardRows(tensor.shape, 'f32').map(({ first, rows }) => ({
    tensor: { ...tensor, offset: tensor.offset + 4 * first * tensor.shape[1], shape: [rows, tensor.shape[1]] },
    first,
  }));
}

function groupsOf(layer: number, parts: readonly Part[]): Partial<Record<GroupName, LowRankGroup>> {
  const groups: Partial<Record<GroupName, LowRankGroup>> = {};
  for (const { name, linears } of GROUPS) {
    const sites: LowRankSite[] = [];
    let hidden = 0;
    for (const linear of linears) {
      const index = parts.findIndex((part) => part.kind === 'low-rank' && part.site.layer === layer && part.site.linear === linear);
      const part = parts[index];
      if (part?.kind !== 'low-rank') continue;
      const rank = part.A.shape[0];
      sites.push({ place: layer * 7 + LINEARS.indexOf(linear), rank, A: part.A, B: part.B, scale: part.scale, index, hidden });
      hidden += Math.ceil(rank / 4) * 4;
    }
    if (sites.length > 0) groups[name] = { sites, ranks: hidden };
  }
  return groups;
}

function asRun(tensors: readonly HostTensor[], { noDecay }: PatchOptions): Run {
  const plain = tensors.filter((tensor) => noDecay?.(tensor.name) === true).length;
  if (plain !== 0 && plain !== tensors.length)
    throw unsupported(`Weight decay on a part of ${tensors.map((tensor) => tensor.name).join(', ')}`);
  return { tensors, decay: plain === 0 };
}

/** Places runs in buffers of one binding each; a run that is larger gets a buffer of its own. Every tensor begins at a multiple of 256 bytes. */
function layOut(runs: readonly Run[]): {
  readonly buffers: { bytes: number; readonly decay: boolean }[];
  readonly tensors: { readonly tensor: HostTensor; readonly buffer: number; readonly offset: number }[];
} {
  const buffers: { bytes: number; readonly decay: boolean }[] = [];
  const tensors: { tensor: HostTensor; buffer: number; offset: number }[] = [];
  for (const run of runs) {
    const bytes = patchBytes(run.tensors.map((tensor) => tensor.shape));
    let buffer = buffers.findIndex((open) => open.decay === run.decay && open.bytes + bytes <= MAX_BINDING_BYTES);
    if (buffer < 0) buffer = buffers.push({ bytes: 0, decay: run.decay }) - 1;
    for (const tensor of run.tensors) {
      tensors.push({ tensor, buffer, offset: buffers[buffer].bytes });
      buffers[buffer].bytes += patchBytes([tensor.shape]);
    }
  }
  return { buffers, tensors };
}

function check(config: ModelConfig, lowRank: readonly LowRank<HostTensor>[], whole: readonly Weights[]): void {
  const seen = new Set<string>();
  const once = (name: string): void => {
    if (seen.has(name)) throw unsupported(`Two parts on ${name}`);
    seen.add(name);
  };
  for (const { site, A, B } of lowRank) {
    once(`${site.linear} of layer ${site.layer}`);
    if (!(site.layer >= 0 && site.layer < config.L)) {
      throw otherBase(`The adapter changes layer ${site.layer}, and this model has layers 0 to ${config.L - 1}.`);
    }
    const [out, input] = linearShape(config, site.linear);
    const rank = A.shape[0];
    checkTensor(A, [rank, input]);
    checkTensor(B, [out, rank]);
  }
  const shapes = weightShapes(config);
  for (const { name, values } of whole) {
    once(name);
    const shape = shapes.get(name);
    if (shape === undefined) throw otherBase(`The patch replaces ${name}, and this model has no tensor of that name.`);
    checkTensor(values, shape);
  }
}
function checkTensor(tensor: HostTensor, wanted: readonly number[]): void {
  const same =
    tensor.shape.length === wanted.length && wanted.every((n, i) => n === tensor.shape[i]) && tensor.data.length === elements(wanted);
  if (!same || wanted[0] === 0) {
    throw otherBase(`${tensor.name} is ${tensor.shape.join(' × ')}, and this model needs ${wanted.join(' × ')} there.`);
  }
}
function otherBase(what: string): AppError {
  return new AppError('adapter/other-base', what, {
    why: 'It was made for another model.',
    fix: 'Load the model that it was made for, or choose another adapter.',
  });
}
function unsupported(what: string): AppError {
  return new AppError('engine/part-unsupported', `${what} cannot be run yet.`, {
    why: 'This version runs low-rank parts (LoRA), one a linear, and weights in place of the base.',
    fix: 'Use a LoRA adapter.',
  });
}
