// What a micro-batch runs in: the kept activations, the gradients, and for each shape of batch the plans that go through them. Planned in bytes first.
import { bytes as inWords } from '../lib/bytes.ts';
import { AppError } from '../lib/error.ts';
import {
  backward,
  chunkLoss,
  createGradients,
  destroyGradients,
  type Gradients,
  gradientBytes,
  gradientsOf,
  lossChunks,
} from './backward.ts';
import type { LowRankGroup } from './calls.ts';
import { loraDownDropout, normThreads, tokenRuns } from './calls-backward.ts';
import { aligned, allocating, createTensor, destroyBuffer, elements, type Gpu, Plan, runPlans, upload } from './gpu.ts';
import {
  type Activations,
  activationBytes,
  activationsOf,
  createActivations,
  createLayerLowRank,
  createLowRank,
  destroyActivations,
  finalNorm,
  firstRows,
  forward,
  forwardLayer,
  type LowRankActivations,
  layerLowRankWidths,
  widestLowRank,
} from './model.ts';
import { GROUPS, type LoadedPatch, writeStrength } from './patch.ts';
import type { Batch, MemoryUse, ModelConfig, Tensor } from './types.ts';
import { LINEARS, linearShape } from './weights.ts';

/** Small tensors that a patch's plans share. */
export interface StepTensors {
  /** [the step's loss so far, gradient norm, clip coefficient, 0] */
  readonly report: Tensor;
  /** optionNumbers of train.ts (12) */
  readonly options: Tensor;
  /** [seed, micro-batches since the start of the fit, the bits of 1 / targets of the step, 0] */
  readonly micro: Tensor;
  /** Partial sums of squares of sum_of_squares. */
  readonly partials: Tensor;
}
export function createStepTensors(gpu: Gpu, partials: number): StepTensors {
  const make = (name: string, n: number, dtype: 'f32' | 'u32' = 'f32'): Tensor => createTensor(gpu, name, 'training', [n], dtype);
  return { report: make('report', 4), options: make('options', 12), micro: make('micro', 4, 'u32'), partials: make('partials', partials) };
}
export function stepTensorBytes(partials: number): number {
  return 3 * aligned(16) + aligned(4 * partials);
}

/** Plans for batches of one shape, and the tensors that a micro-batch's numbers are written into. */
interface ShapePlans {
  readonly forward: Plan;
  readonly chunks: readonly Plan[];
  readonly backward: Plan;
  readonly acts: Activations;
  readonly grads: Gradients;
}
/** Buffers for up to M tokens of one patch. */
export interface Workspace {
  readonly M: number;
  readonly acts: Activations;
  readonly grads: Gradients;
  readonly lowRank: LowRankActivations;
  readonly shapes: Map<string, ShapePlans>;
}

/** Widths of the h that a patch's low-rank groups have. */
function lowRankWidths(patch: LoadedPatch): number[] {
  if (patch.recompute) return [...layerLowRankWidths(patch).values()];
  return patch.groups.flatMap((layer) => GROUPS.map(({ name }) => layer[name]?.ranks ?? 0)).filter((width) => width > 0);
}
function workspaceBytes(config: ModelConfig, M: number, widths: readonly number[], recompute: boolean): number {
  const lowRank = widths.reduce((sum, width) => sum + aligned(4 * M * width), 0);
  return activationBytes(config, M, recompute ? 'inputs' : true) + gradientBytes(config, M, Math.max(0, ...widths)) + lowRank;
}

/** Bytes that training `trainedValues` numbers on (B, T) micro-batches will allocate: the numbers, gradients and two moments, and all activations. A low-rank
 *  patch is taken to have one rank on all linears, which is exact for those and an upper bound for fewer of them, whole weights to lie in one buffer.
 *  `recompute` as in PatchOptions. */
export function planTraining(
  config: ModelConfig,
  [B, T]: readonly [number, number],
  trainedValues: number,
  kind: 'low-rank' | 'weights' = 'low-rank',
  recompute = false,
): MemoryUse {
  const valuesOfRank1 =
    LINEARS.reduce((sum, linear) => sum + linearShape(config, linear)[0] + linearShape(config, linear)[1], 0) * config.L;
  const rank = Math.ceil(trainedValues / valuesOfRank1);
  const width = (sites: number): number => sites * Math.ceil(rank / 4) * 4;
  const widths =
    kind === 'weights' ? [] : Array.from({ length: recompute ? 1 : config.L }, () => [width(3), width(1), width(2), width(1)]).flat();
  const sites = kind === 'weights' ? 1 : 7 * config.L;
  const bytes = aligned(4 * trainedValues);
  return {
    weights: 0,
    activations: workspaceBytes(config, B * T, widths, recompute),
    training: 4 * bytes + aligned(4 * sites) + stepTensorBytes(normThreads({ shape: [bytes / 4] })),
  };
}

/** Room for B * T tokens. `limit` is what the whole engine may take. @throws 'gpu/out-of-memory' with the numbers, before anything is taken or after nothing is */
export async function createWorkspace(
  gpu: Gpu,
  config: ModelConfig,
  patch: LoadedPatch,
  [B, T]: readonly [number, number],
  limit: number | undefined,
): Promise<Workspace> {
  const M = B * T;
  const widths = lowRankWidths(patch);
  const bytes = workspaceBytes(config, M, widths, patch.recompute);
  checkMemory(gpu, bytes, B, T, limit);
  checkBindings(gpu, config, B, T);
  const made: Workspace[] = [];
  try {
    return await allocating(gpu, `Training on ${B} × ${T} tokens`, bytes, () => {
      const workspace = {
        M,
        acts: createActivations(gpu, config, M, patch.recompute ? 'inputs' : true),
        grads: createGradients(gpu, config, M, Math.max(0, ...widths)),
        lowRank: (patch.recompute ? createLayerLowRank : createLowRank)(gpu, patch, M, 'activations'),
        shapes: new Map<string, ShapePlans>(),
      };
      made.push(workspace);
      return workspace;
    });
  } catch (error) {
    for (const workspace of made) destroyWorkspace(gpu, workspace);
    throw error;
  }
}

function checkMemory(gpu: Gpu, bytes: number, B: number, T: number, limit: number | undefined): void {
  const { weights, activations, training } = gpu.memory;
  const total = weights + activations + training + bytes;
  if (limit === undefined || total <= limit) return;
  const largest =
    bytes >= Math.max(weights, training)
      ? `The batch of ${B} × ${T} tokens is the largest part, ${inWords(bytes)}.`
      : weights >= training
        ? `The model's weights are the largest part, ${inWords(weights)}.`
        : `The trained numbers with their gradients and moments are the largest part, ${inWords(training)}.`;
  const rows = Math.floor(((limit - (total - bytes)) / bytes) * B);
  throw new AppError('gpu/out-of-memory', `Training needs ${inWords(total)} of GPU memory and ${inWords(limit)} is allowed.`, {
    why: largest,
    fix:
      rows >= 1
        ? `Set the batch size to ${rows}, or use shorter texts or a smaller model.`
        : 'Use shorter texts, hold the model as 16-bit floats, train fewer numbers, or choose a smaller model.',
    facts: { bytes: total, limit, weights, activations: activations + bytes, training },
  });
}

/** Each tensor is bound whole, and this device binds so many bytes at once. */
function checkBindings(gpu: Gpu, { C, F, NH, NKV, HS }: ModelConfig, B: number, T: number): void {
  const most = gpu.device.limits.maxStorageBufferBindingSize;
  const row = 4 * T * Math.max(C, 2 * F, (NH + 2 * NKV) * HS);
  if (B * row <= most) return;
  const rows = Math.floor(most / row);
  throw new AppError('gpu/out-of-memory', `A batch of ${B} × ${T} tokens needs a block of ${inWords(B * row)} on the GPU.`, {
    why: `This device gives a program at most ${inWords(most)} in one block.`,
    fix: rows >= 1 ? `Set the batch size to ${rows}.` : 'Use shorter texts or a smaller model.',
    facts: { bytes: B * row, limit: most },
  });
}

export function destroyWorkspace(gpu: Gpu, { acts, grads, lowRank, shapes }: Workspace): void {
  for (const { forward, chunks, backward } of shapes.values()) for (const plan of [forward, ...chunks, backward]) plan.dispose();
  destroyActivations(gpu, acts);
  destroyGradients(gpu, grads);
  const hidden = new Set(lowRank.flatMap((layer) => Object.values(layer).map(({ buffer }) => buffer)));
  for (const buffer of hidden) destroyBuffer(gpu, 'activations', buffer);
}

/** The plans for a shape, recorded at its first use. @throws 'gpu/kernel' */
async function plansOf(
  gpu: Gpu,
  config: ModelConfig,
  patch: LoadedPatch,
  workspace: Workspace,
  { micro, report }: StepTensors,
  [B, T]: readonly [number, number],
): Promise<ShapePlans> {
  const key = `${B} × ${T}`;
  const known = workspace.shapes.get(key);
  if (known !== undefined) return known;
  const M = B * T;
  const shape = { B, T };
  const acts = activationsOf(workspace.acts, M);
  const grads = gradientsOf(workspace.grads, config, M, widestLowRank(patch));
  const lowRank: LowRankActivations = workspace.lowRank.map((layer) =>
    Object.fromEntries(Object.entries(layer).map(([name, h]) => [name, firstRows(h, M)])),
  );
  const down = new Plan(gpu, `forward ${key}`);
  const dropped = (h: Tensor, x: Tensor, group: LowRankGroup) => loraDownDropout(h, x, group, { micro, rate: patch.dropout });
  const lora = { patch: { loaded: patch, lowRank }, ...(patch.dropout > 0 ? { down: dropped } : {}) };
  const downward = { config, weights: patch.weights, acts, shape, ...lora };
  const again = patch.recompute ? (plan: Plan, layer: number) => forwardLayer(plan, layer, downward, true) : undefined;
  const options = { config, patch, acts, lowRank, grads, shape, micro, report, again };
  forward(down, downward);
  finalNorm(down, config, patch.weights, acts);
  const chunks = Array.from({ length: lossChunks(M, config).count }, (_, i) => {
    const plan = new Plan(gpu, `loss ${key}, chunk ${i}`);
    chunkLoss(plan, i, options);
    return plan;
  });
  const up = new Plan(gpu, `backward ${key}`);
  backward(up, options);
  await Promise.all([down, ...chunks, up].map((plan) => plan.prepare()));
  const plans = { forward: down, chunks, backward: up, acts, grads };
  workspace.shapes.set(key, plans);
  return plans;
}

const NO_ROW = 0xffffffff;

/** Forward and backward over one micro-batch, number `counter` of the fit; resolves when all of it is submitted. */
export async function runMicroBatch(
  gpu: Gpu,
  config: ModelConfig,
  patch: LoadedPatch,
  workspace: Workspace,
  tensors: StepTensors,
  batch: Batch,
  targetsOfStep: number,
  counter: number,
): Promise<void> {
  const plans = await plansOf(gpu, config, patch, workspace, tensors, batch.shape);
  const { acts, grads } = plans;
  const [B, T] = batch.shape;
  const rows = new Uint32Array(elements(grads.rows.shape)).fill(NO_ROW);
  const targets = new Int32Array(rows.length).fill(-1);
  const places = new Uint32Array(B * T).fill(NO_ROW);
  const cut = lossChunks(B * T, config);
  let labelled = 0;
  batch.targets.forEach((target, m) => {
    if (target < 0) return;
    const place = Math.floor(labelled / cut.rows) * cut.stride + (labelled % cut.rows);
    rows[place] = m;
    targets[place] = target;
    places[m] = place;
    labelled++;
  });
  writeStrength(gpu, patch, 1);
  upload(gpu, acts.tokens, batch.tokens);
  upload(gpu, acts.rows, new Uint32Array(Array.from({ length: B }, (_, b) => [0, b]).flat()));
  upload(gpu, grads.rows, rows);
  upload(gpu, grads.targets, targets);
  upload(gpu, grads.places, places);
  if (patch.replaced.has('model.embed_tokens.weight')) {
    const { order, starts, ids } = tokenRuns(batch.tokens);
    upload(gpu, grads.runs.order, order);
    upload(gpu, grads.runs.starts, starts);
    upload(gpu, grads.runs.ids, ids);
  }
  const scale = new Uint32Array(Float32Array.of(1 / targetsOfStep).buffer)[0];
  upload(gpu, tensors.micro, Uint32Array.of(patch.seed, counter, scale, 0));
  const chunks = plans.chunks.slice(0, Math.ceil(labelled / cut.rows));
  await runPlans(gpu, [plans.forward, ...chunks, plans.backward]);
}
/** Dispatches of a micro-batch of the last shape that was run, all rows labelled. */
export function workspaceDispatches({ shapes }: Workspace): number {
  const plans = [...shapes.values()].at(-1);
  if (plans === undefined) return 0;
  return [plans.forward, ...plans.chunks, plans.backward].reduce((sum, plan) => sum + plan.dispatches, 0);
}
