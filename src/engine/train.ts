// Training: micro-batches in, gradients added up, one AdamW step. Everything is queued in order: accumulate returns at once, and what went wrong in it is
// thrown by the update that follows.
import { AppError } from '../lib/error.ts';
import {
  backward,
  chunkLoss,
  chunkRows,
  createGradients,
  destroyGradients,
  type Gradients,
  gradientBytes,
  gradientsOf,
} from './backward.ts';
import type { LowRankGroup } from './calls.ts';
import { adamwStep, clip, loraDownDropout, normThreads, tokenRuns } from './calls-backward.ts';
import {
  aligned,
  allocating,
  createTensor,
  destroyBuffer,
  download,
  downloadBytes,
  elements,
  type Gpu,
  MAX_BINDING_BYTES,
  Plan,
  readStaging,
  tensorBytes,
  upload,
} from './gpu.ts';
import {
  type Activations,
  activationBytes,
  activationsOf,
  createActivations,
  createLowRank,
  destroyActivations,
  finalNorm,
  firstRows,
  forward,
  type LowRankActivations,
  widestLowRank,
} from './model.ts';
import { GROUPS, type LoadedPatch, trainingTensor, writeStrength } from './patch.ts';
import type { AdamW, Batch, MemoryUse, ModelConfig, OptimizerState, Tensor } from './types.ts';
import { LINEARS, linearShape } from './weights.ts';

/** What one step of training answers with. */
export interface StepReport {
  /** Nats a target token, before the update. */
  readonly loss: number;
  /** L2 norm of all gradients together, before clipping. */
  readonly gradNorm: number;
}

/** Training on one model. As in Engine, but on patches as the engine knows them. */
export interface Trainer {
  accumulate(batch: Batch, patch: LoadedPatch, targetsOfStep: number): void;
  update(patch: LoadedPatch, options: AdamW): Promise<StepReport>;
  gradients(patch: LoadedPatch): Promise<ReadonlyMap<string, Float32Array>>;
  saveState(patch: LoadedPatch): Promise<OptimizerState>;
  loadState(patch: LoadedPatch, state: OptimizerState): void;
  /** Frees what training this patch took besides the patch's own buffers; it is made again when training goes on. */
  release(patch: LoadedPatch): void;
  /** Dispatches of one micro-batch with all rows labelled and of one update, after the first step of a shape; for benchmarks. */
  dispatches(patch: LoadedPatch): { readonly microBatch: number; readonly update: number };
  dispose(): void;
}

/** Numbers of `options` in adamw_step, for step `step` (from 1). */
export function optionNumbers({ lr, beta1, beta2, eps, weightDecay, clipNorm }: AdamW, step: number): Float32Array {
  const [correction1, correction2] = [1 - beta1 ** step, 1 - beta2 ** step];
  return Float32Array.of(lr * weightDecay, beta1, 1 - beta1, beta2, 1 - beta2, eps, lr / correction1, correction2, clipNorm, 0, 0, 0);
}

/** Plans for batches of one shape, and the tensors that a micro-batch's numbers are written into. */
interface ShapePlans {
  readonly forward: Plan;
  readonly chunks: readonly Plan[];
  readonly backward: Plan;
  readonly acts: Activations;
  readonly grads: Gradients;
}
/** Buffers for up to M tokens. */
interface Workspace {
  readonly M: number;
  readonly acts: Activations;
  readonly grads: Gradients;
  readonly lowRank: LowRankActivations;
  readonly plans: Map<string, ShapePlans>;
}
/** What training keeps of a patch. */
interface Session {
  /** Updates done, and micro-batches seen: dropout's counter. */
  step: number;
  counter: number;
  /** Raised by loadState: what was queued before it is dropped. */
  generation: number;
  queue: Promise<void>;
  failure: unknown;
  workspace: Workspace | undefined;
  update: Plan | undefined;
  tensors: SessionTensors | undefined;
}
interface SessionTensors {
  readonly report: Tensor;
  readonly options: Tensor;
  readonly micro: Tensor;
  readonly partials: Tensor;
  readonly staging: GPUBuffer;
}

/** Pieces of a patch's buffers that each fit a binding. */
function slices(tensor: Tensor): Tensor[] {
  const most = MAX_BINDING_BYTES / 4;
  const n = elements(tensor.shape);
  return Array.from({ length: Math.ceil(n / most) }, (_, i) => ({
    ...tensor,
    offset: tensor.offset + 4 * i * most,
    shape: [Math.min(most, n - i * most)],
  }));
}
function trainedBuffers(
  patch: LoadedPatch,
): { readonly w: Tensor; readonly g: Tensor; readonly m: Tensor; readonly v: Tensor; readonly decay: boolean }[] {
  return patch.buffers.map(({ w, decay, training }) => {
    if (training === undefined) throw notTrainable();
    return { w, ...training, decay };
  });
}
function notTrainable(): AppError {
  return new AppError('engine/not-trainable', 'This patch was made for use alone, and cannot be trained.');
}

const REPORT_BYTES = 16;
const MAP_READ_AND_COPY_DST = 0x0001 | 0x0008;

function createSessionTensors(gpu: Gpu, patch: LoadedPatch): SessionTensors {
  const make = (name: string, n: number, dtype: 'f32' | 'u32' = 'f32'): Tensor => createTensor(gpu, name, 'training', [n], dtype);
  return {
    report: make('report', 4),
    options: make('options', 12),
    micro: make('micro', 4, 'u32'),
    partials: make('partials', partialNumbers(patch)),
    staging: gpu.device.createBuffer({ label: 'report', size: REPORT_BYTES, usage: MAP_READ_AND_COPY_DST }),
  };
}
function partialNumbers(patch: LoadedPatch): number {
  return trainedBuffers(patch).reduce((sum, { g }) => sum + slices(g).reduce((n, slice) => n + normThreads(slice), 0), 0);
}

/** Widths of a patch's low-rank groups. */
function lowRankWidths(patch: LoadedPatch): number[] {
  return patch.groups.flatMap((layer) => GROUPS.map(({ name }) => layer[name]?.ranks ?? 0)).filter((width) => width > 0);
}
/** Bytes of a workspace for M tokens under low-rank groups of these widths. */
export function workspaceBytes(config: ModelConfig, M: number, widths: readonly number[]): number {
  const lowRank = widths.reduce((sum, width) => sum + aligned(4 * M * width), 0);
  return activationBytes(config, M, true) + gradientBytes(config, M, Math.max(0, ...widths)) + lowRank;
}
/** Bytes of `training` that a patch's session adds to the patch's own buffers. */
function sessionBytes(partials: number): number {
  return 3 * aligned(16) + aligned(4 * partials);
}

/** Bytes that training `trainedValues` numbers on (B, T) micro-batches will allocate: numbers, gradients and two moments, and all activations, as if a LoRA of
 *  one rank on all linears were trained where the numbers are no more than that of rank 256, else whole weights. */
export function planTraining(config: ModelConfig, [B, T]: readonly [number, number], trainedValues: number): MemoryUse {
  const perRank = LINEARS.reduce((sum, linear) => sum + linearShape(config, linear)[0] + linearShape(config, linear)[1], 0) * config.L;
  const rank = Math.ceil(trainedValues / perRank);
  const width = (sites: number): number => sites * Math.ceil(rank / 4) * 4;
  const widths = rank > 256 ? [] : Array.from({ length: config.L }, () => [width(3), width(1), width(2), width(1)]).flat();
  const bytes = aligned(4 * trainedValues);
  return {
    weights: 0,
    activations: workspaceBytes(config, B * T, widths),
    training: 4 * bytes + aligned(4 * 7 * config.L) + sessionBytes(normThreads({ shape: [bytes / 4] })),
  };
}

/** @throws nothing now: each call says what it needs. `memoryLimit` is what the whole engine may take, in bytes. */
export function createTrainer(gpu: Gpu, config: ModelConfig, memoryLimit?: number): Trainer {
  const sessions = new Map<LoadedPatch, Session>();

  function sessionOf(patch: LoadedPatch): Session {
    let session = sessions.get(patch);
    if (session === undefined) {
      if (!patch.trainable) throw notTrainable();
      session = {
        step: 0,
        counter: 0,
        generation: 0,
        queue: Promise.resolve(),
        failure: undefined,
        workspace: undefined,
        update: undefined,
        tensors: undefined,
      };
      sessions.set(patch, session);
    }
    return session;
  }

  /** Waits for what is queued, and throws what went wrong in it. */
  async function settled(session: Session, patch: LoadedPatch): Promise<void> {
    await session.queue;
    const { failure } = session;
    if (failure === undefined) return;
    session.failure = undefined;
    if (!gpu.isLost) clearGradients(patch, session);
    throw failure;
  }

  async function tensorsOf(session: Session, patch: LoadedPatch): Promise<SessionTensors> {
    await patch.ready;
    session.tensors ??= await allocating(gpu, 'Training', sessionBytes(partialNumbers(patch)), () => createSessionTensors(gpu, patch));
    return session.tensors;
  }

  /** Room for M tokens, after a check against the limit; a smaller one that is there is freed first. */
  async function workspaceOf(session: Session, patch: LoadedPatch, [B, T]: readonly [number, number]): Promise<Workspace> {
    const M = B * T;
    if (session.workspace !== undefined && session.workspace.M >= M) return session.workspace;
    for (const [other, own] of sessions) freeWorkspace(own, other);
    const widths = lowRankWidths(patch);
    const bytes = workspaceBytes(config, M, widths);
    checkMemory(bytes, B, T);
    session.workspace = await allocating(gpu, `Training on ${B} × ${T} tokens`, bytes, () => ({
      M,
      acts: createActivations(gpu, config, M, true),
      grads: createGradients(gpu, config, M, Math.max(0, ...widths)),
      lowRank: createLowRank(gpu, patch, M, 'activations'),
      plans: new Map<string, ShapePlans>(),
    }));
    return session.workspace;
  }
  function checkMemory(bytes: number, B: number, T: number): void {
    const { weights, activations, training } = gpu.memory;
    const total = weights + activations + training + bytes;
    if (memoryLimit === undefined || total <= memoryLimit) return;
    const megabytes = (n: number): string => `${Math.ceil(n / 1e6)} MB`;
    const largest =
      bytes >= Math.max(weights, training)
        ? `The batch of ${B} × ${T} tokens is the largest part, ${megabytes(bytes)}.`
        : weights >= training
          ? `The model's weights are the largest part, ${megabytes(weights)}.`
          : `The trained numbers with their gradients and moments are the largest part, ${megabytes(training)}.`;
    const left = memoryLimit - (total - bytes);
    const rows = Math.floor((left / bytes) * B);
    throw new AppError(
      'gpu/out-of-memory',
      `Training needs ${megabytes(total)} of GPU memory and ${Math.floor(memoryLimit / 1e6)} MB is allowed.`,
      {
        why: largest,
        fix:
          rows >= 1
            ? `Set the batch size to ${rows}, or use shorter texts or a smaller model.`
            : 'Use shorter texts, hold the model as 16-bit floats, train fewer numbers, or choose a smaller model.',
        facts: { bytes: total, limit: memoryLimit, weights, activations: activations + bytes, training },
      },
    );
  }
  function freeWorkspace(session: Session, patch: LoadedPatch): void {
    const { workspace } = session;
    if (workspace === undefined) return;
    session.workspace = undefined;
    for (const plans of workspace.plans.values()) for (const plan of [plans.forward, ...plans.chunks, plans.backward]) plan.dispose();
    destroyActivations(gpu, workspace.acts);
    destroyGradients(gpu, workspace.grads);
    for (const layer of workspace.lowRank)
      for (const { name } of GROUPS) if (layer[name] !== undefined) destroyBuffer(gpu, 'activations', layer[name].buffer);
    void patch;
  }

  async function plansOf(
    workspace: Workspace,
    tensors: SessionTensors,
    patch: LoadedPatch,
    [B, T]: readonly [number, number],
  ): Promise<ShapePlans> {
    const key = `${B} ${T}`;
    const made = workspace.plans.get(key);
    if (made !== undefined) return made;
    const M = B * T;
    const acts = activationsOf(workspace.acts, M);
    const grads = gradientsOf(workspace.grads, config, M, widestLowRank(patch));
    const lowRank = workspace.lowRank.map((layer) => Object.fromEntries(Object.entries(layer).map(([name, h]) => [name, firstRows(h, M)])));
    const { micro, report } = tensors;
    const shape = { B, T };
    const forwardPlan = new Plan(gpu, `forward ${key}`);
    const down = (h: Tensor, x: Tensor, group: LowRankGroup) => loraDownDropout(h, x, group, { micro, rate: patch.dropout });
    forward(forwardPlan, {
      config,
      weights: patch.weights,
      acts,
      shape,
      patch: { loaded: patch, lowRank },
      ...(patch.dropout > 0 ? { down } : {}),
    });
    finalNorm(forwardPlan, config, patch.weights, acts);
    const options = { config, patch, acts, lowRank, grads, shape, micro, report };
    const chunks = Array.from({ length: Math.ceil(M / chunkRows(M, config)) }, (_, i) => {
      const plan = new Plan(gpu, `loss ${key} ${i}`);
      chunkLoss(plan, i, options);
      return plan;
    });
    const backwardPlan = new Plan(gpu, `backward ${key}`);
    backward(backwardPlan, options);
    await Promise.all([forwardPlan, ...chunks, backwardPlan].map((plan) => plan.prepare()));
    const plans = { forward: forwardPlan, chunks, backward: backwardPlan, acts, grads };
    workspace.plans.set(key, plans);
    return plans;
  }

  async function microBatch(session: Session, patch: LoadedPatch, batch: Batch, targetsOfStep: number): Promise<void> {
    const tensors = await tensorsOf(session, patch);
    const workspace = await workspaceOf(session, patch, batch.shape);
    const plans = await plansOf(workspace, tensors, patch, batch.shape);
    const [B, T] = batch.shape;
    const M = B * T;
    const { acts, grads } = plans;
    const R = chunkRows(M, config);
    const P = elements(grads.rows.shape);
    const rows = new Uint32Array(P).fill(NO_ROW);
    const targets = new Int32Array(P).fill(-1);
    const places = new Uint32Array(M).fill(NO_ROW);
    let labelled = 0;
    batch.targets.forEach((target, m) => {
      if (target < 0) return;
      rows[labelled] = m;
      targets[labelled] = target;
      places[m] = labelled++;
    });
    writeStrength(gpu, patch, 1);
    upload(gpu, acts.tokens, batch.tokens);
    upload(
      gpu,
      acts.rows,
      Uint32Array.from({ length: 2 * B }, (_, i) => (i % 2 === 0 ? 0 : (i - 1) / 2)),
    );
    upload(gpu, grads.rows, rows);
    upload(gpu, grads.targets, targets);
    upload(gpu, grads.places, places);
    if (patch.replaced.has('model.embed_tokens.weight')) {
      const runs = tokenRuns(batch.tokens);
      upload(gpu, grads.runs.order, runs.order);
      upload(gpu, grads.runs.starts, runs.starts);
      upload(gpu, grads.runs.ids, runs.ids);
    }
    const scale = new Uint32Array(Float32Array.of(1 / targetsOfStep).buffer)[0];
    upload(gpu, tensors.micro, Uint32Array.of(patch.seed, session.counter, scale, 0));
    session.counter++;
    await plans.forward.run();
    for (let i = 0; i * R < labelled; i++) await plans.chunks[i].run();
    await plans.backward.run();
  }

  async function updatePlan(session: Session, patch: LoadedPatch, { report, options, partials }: SessionTensors): Promise<Plan> {
    if (session.update !== undefined) return session.update;
    const plan = new Plan(gpu, 'update');
    const buffers = trainedBuffers(patch);
    for (const call of clip(
      report,
      partials,
      buffers.flatMap(({ g }) => slices(g)),
      options,
    ))
      plan.add(call); // prettier-ignore
    for (const { w, m, v, g, decay } of buffers) {
      const [ms, vs, gs] = [slices(m), slices(v), slices(g)];
      slices(w).forEach((slice, i) => {
        plan.add(adamwStep(slice, ms[i], vs[i], gs[i], report, options, decay));
      });
    }
    await plan.prepare();
    session.update = plan;
    return plan;
  }

  /** Of a patch, and the loss that went with them. */
  function clearGradients(patch: LoadedPatch, session: Session): void {
    const encoder = gpu.device.createCommandEncoder();
    for (const { g } of trainedBuffers(patch)) encoder.clearBuffer(g.buffer);
    if (session.tensors !== undefined) encoder.clearBuffer(session.tensors.report.buffer);
    gpu.device.queue.submit([encoder.finish()]);
  }

  return {
    accumulate(batch, patch, targetsOfStep) {
      const session = sessionOf(patch);
      const own = { ...batch, tokens: batch.tokens.slice(), targets: batch.targets.slice() };
      const { generation } = session;
      session.queue = session.queue.then(async () => {
        if (session.failure !== undefined || session.generation !== generation) return;
        try {
          checkBatch(config, own, targetsOfStep);
          await microBatch(session, patch, own, targetsOfStep);
        } catch (error) {
          session.failure = error;
        }
        if (session.generation !== generation) clearGradients(patch, session); // loadState came while it ran
      });
    },

    async update(patch, options) {
      const session = sessionOf(patch);
      await settled(session, patch);
      const tensors = await tensorsOf(session, patch);
      const plan = await updatePlan(session, patch, tensors);
      session.step++;
      upload(gpu, tensors.options, optionNumbers(options, session.step));
      await plan.run({
        tail: (encoder) => {
          encoder.copyBufferToBuffer(tensors.report.buffer, 0, tensors.staging, 0, REPORT_BYTES);
          encoder.clearBuffer(tensors.report.buffer);
        },
      });
      const [loss, gradNorm] = new Float32Array(await readStaging(gpu, tensors.staging, REPORT_BYTES));
      return { loss, gradNorm };
    },

    async gradients(patch) {
      await settled(sessionOf(patch), patch);
      const gradients = new Map<string, Float32Array>();
      for (const [name, tensor] of patch.tensors) gradients.set(name, await download(gpu, trainingTensor(patch, tensor, 'g')));
      return gradients;
    },

    async saveState(patch) {
      const session = sessionOf(patch);
      await settled(session, patch);
      await patch.ready;
      const read = async ({ buffer, shape }: Tensor): Promise<Uint8Array> =>
        new Uint8Array(await downloadBytes(gpu, buffer, 0, tensorBytes(shape, 'f32')));
      const buffers = [];
      for (const { w, m, v } of trainedBuffers(patch)) buffers.push({ w: await read(w), m: await read(m), v: await read(v) });
      return { step: session.step, counter: session.counter, buffers };
    },

    loadState(patch, state) {
      const session = sessionOf(patch);
      const buffers = trainedBuffers(patch);
      const fits = (bytes: Uint8Array, tensor: Tensor): boolean => bytes.byteLength === tensorBytes(tensor.shape, 'f32');
      if (
        buffers.length !== state.buffers.length ||
        !buffers.every(({ w, m, v }, i) => {
          const own = state.buffers[i];
          return fits(own.w, w) && fits(own.m, m) && fits(own.v, v);
        })
      ) {
        // prettier-ignore
        throw new AppError('engine/other-state', 'This training state belongs to another set of trained tensors.', {
          fix: 'Load it into a patch of the same parts, ranks and sizes.',
        });
      }
      buffers.forEach(({ w, m, v }, i) => {
        upload(gpu, w, state.buffers[i].w);
        upload(gpu, m, state.buffers[i].m);
        upload(gpu, v, state.buffers[i].v);
      });
      clearGradients(patch, session);
      session.step = state.step;
      session.counter = state.counter ?? 0;
      session.generation++;
      session.failure = undefined;
    },

    release(patch) {
      const session = sessions.get(patch);
      if (session === undefined) return;
      sessions.delete(patch);
      freeWorkspace(session, patch);
      session.update?.dispose();
      if (session.tensors === undefined) return;
      const { report, options, micro, partials, staging } = session.tensors;
      for (const { buffer } of [report, options, micro, partials]) destroyBuffer(gpu, 'training', buffer);
      staging.destroy();
    },

    dispatches(patch) {
      const session = sessionOf(patch);
      const plans = [...(session.workspace?.plans.values() ?? [])].at(-1);
      const sum = (list: readonly Plan[]): number => list.reduce((total, plan) => total + plan.dispatches, 0);
      return {
        microBatch: plans === undefined ? 0 : sum([plans.forward, ...plans.chunks, plans.backward]),
        update: session.update?.dispatches ?? 0,
      };
    },

    dispose() {
      for (const patch of [...sessions.keys()]) this.release(patch);
    },
  };
}

const NO_ROW = 0xffffffff;

/** @throws 'engine/bad-batch', 'text/too-long' */
function checkBatch({ V, context }: ModelConfig, { tokens, targets, shape: [B, T], segments }: Batch, targetsOfStep: number): void {
  const bad = (what: string): AppError => new AppError('engine/bad-batch', what, { facts: { B, T, targetsOfStep } });
  if (T > context) {
    throw new AppError('text/too-long', `A row of ${T} tokens does not fit the model's context of ${context}.`, {
      fix: `Use rows of at most ${context} tokens.`,
    });
  }
  if (B < 1 || T < 1 || tokens.length !== B * T || targets.length !== B * T) {
    throw bad(`A batch of ${B} × ${T} has ${tokens.length} tokens and ${targets.length} targets.`);
  }
  if (!tokens.every((id) => id < V) || !targets.every((id) => id < V)) throw bad(`A batch has an id outside the vocabulary of ${V}.`);
  if (!(targetsOfStep > 0)) throw bad(`A step of ${targetsOfStep} targets cannot be averaged over.`);
  if (segments !== undefined) throw bad('Several rows a line (segments) cannot be trained on yet.');
}
