// Training: micro-batches in, gradients added up, one AdamW step. Everything is queued in order: accumulate returns at once, and what went wrong in it is
// thrown by the update that follows.
import { AppError } from '../lib/error.ts';
import { adamwStep, clip, normThreads } from './calls-backward.ts';
import {
  allocating,
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
import { type LoadedPatch, trainingTensor } from './patch.ts';
import type { AdamW, Batch, ModelConfig, OptimizerState, Tensor } from './types.ts';
import {
  createStepTensors,
  createWorkspace,
  destroyWorkspace,
  runMicroBatch,
  type StepTensors,
  stepTensorBytes,
  type Workspace,
  workspaceDispatches,
} from './workspace.ts';

/** What one step of training answers with. */
export interface StepReport {
  /** Nats a target token, before the update. NaN where the numbers ran away: loadState goes back. */
  readonly loss: number;
  /** L2 norm of all gradients together, before clipping. */
  readonly gradNorm: number;
}

/** Training on one model: the calls of Engine, on patches as the engine knows them. */
export interface Trainer {
  accumulate(batch: Batch, patch: LoadedPatch, targetsOfStep: number): void;
  update(patch: LoadedPatch, options: AdamW): Promise<StepReport>;
  gradients(patch: LoadedPatch): Promise<ReadonlyMap<string, Float32Array>>;
  saveState(patch: LoadedPatch): Promise<OptimizerState>;
  loadState(patch: LoadedPatch, state: OptimizerState): void;
  /** Frees what training this patch took besides the patch's own buffers; its step count is forgotten. */
  release(patch: LoadedPatch): void;
  /** Dispatches of a micro-batch with all rows labelled and of an update, once they have run; for benchmarks. */
  dispatches(patch: LoadedPatch): { readonly microBatch: number; readonly update: number };
  dispose(): void;
}

/** What training keeps of a patch. */
interface Session {
  readonly patch: LoadedPatch;
  /** Updates done, and micro-batches seen: dropout's counter. */
  step: number;
  counter: number;
  /** Raised by loadState: what was queued before it is dropped. */
  generation: number;
  queue: Promise<void>;
  failure: unknown;
  workspace: Workspace | undefined;
  update: Plan | undefined;
  tensors: StepTensors | undefined;
  staging: GPUBuffer | undefined;
}

/** Numbers of `options` in adamw_step, for step `step` (from 1). */
export function optionNumbers({ lr, beta1, beta2, eps, weightDecay, clipNorm }: AdamW, step: number): Float32Array {
  const [correction1, correction2] = [1 - beta1 ** step, 1 - beta2 ** step];
  return Float32Array.of(lr * weightDecay, beta1, 1 - beta1, beta2, 1 - beta2, eps, lr / correction1, correction2, clipNorm, 0, 0, 0);
}

const REPORT_BYTES = 16;
const MAP_READ = 0x0001;
const COPY_DST = 0x0008;

/** `memoryLimit` is what the whole engine may take, in bytes. Buffers come with the first micro-batch of a patch, and for a larger one anew. */
export function createTrainer(gpu: Gpu, config: ModelConfig, memoryLimit?: number): Trainer {
  const sessions = new Map<LoadedPatch, Session>();

  /** @throws 'engine/not-trainable' */
  function sessionOf(patch: LoadedPatch): Session {
    let session = sessions.get(patch);
    if (session === undefined) {
      trainedBuffers(patch);
      session = {
        patch,
        step: 0,
        counter: 0,
        generation: 0,
        queue: Promise.resolve(),
        failure: undefined,
        workspace: undefined,
        update: undefined,
        tensors: undefined,
        staging: undefined,
      };
      sessions.set(patch, session);
    }
    return session;
  }

  /** Waits for what is queued, and throws what went wrong in it; what was added up until then is dropped. */
  async function settled(session: Session): Promise<void> {
    await session.queue;
    const { failure } = session;
    if (failure === undefined) return;
    session.failure = undefined;
    if (!gpu.isLost) clearGradients(session);
    throw failure;
  }

  async function stepTensors(session: Session): Promise<StepTensors> {
    if (session.tensors !== undefined) return session.tensors;
    await session.patch.ready;
    const partials = trainedBuffers(session.patch)
      .flatMap(({ g }) => slices(g))
      .reduce((sum, slice) => sum + normThreads(slice), 0);
    session.tensors = await allocating(gpu, 'Training', stepTensorBytes(partials), () => createStepTensors(gpu, partials));
    return session.tensors;
  }

  /** Only the patch that trains now has a workspace. */
  async function workspaceFor(session: Session, shape: readonly [number, number]): Promise<Workspace> {
    if (session.workspace !== undefined && session.workspace.M >= shape[0] * shape[1]) return session.workspace;
    for (const other of sessions.values()) {
      if (other.workspace !== undefined) destroyWorkspace(gpu, other.workspace);
      other.workspace = undefined;
    }
    session.workspace = await createWorkspace(gpu, config, session.patch, shape, memoryLimit);
    return session.workspace;
  }

  async function microBatch(session: Session, batch: Batch, targetsOfStep: number): Promise<void> {
    checkBatch(config, batch, targetsOfStep);
    const tensors = await stepTensors(session);
    const workspace = await workspaceFor(session, batch.shape);
    await runMicroBatch(gpu, config, session.patch, workspace, tensors, batch, targetsOfStep, session.counter);
    session.counter++;
  }

  /** Norm, clip coefficient and AdamW over every buffer. */
  async function updatePlan(session: Session, { report, options, partials }: StepTensors): Promise<Plan> {
    if (session.update !== undefined) return session.update;
    const plan = new Plan(gpu, 'update');
    const buffers = trainedBuffers(session.patch);
    const gradients = buffers.flatMap(({ g }) => slices(g));
    for (const call of clip(report, partials, gradients, options)) plan.add(call);
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

  /** And the loss that was added up with them. */
  function clearGradients(session: Session): void {
    const encoder = gpu.device.createCommandEncoder();
    for (const { g } of trainedBuffers(session.patch)) encoder.clearBuffer(g.buffer);
    if (session.tensors !== undefined) encoder.clearBuffer(session.tensors.report.buffer);
    gpu.device.queue.submit([encoder.finish()]);
  }

  function release(patch: LoadedPatch): void {
    const session = sessions.get(patch);
    if (session === undefined) return;
    sessions.delete(patch);
    session.generation++;
    if (session.workspace !== undefined) destroyWorkspace(gpu, session.workspace);
    session.update?.dispose();
    session.staging?.destroy();
    for (const { buffer } of Object.values(session.tensors ?? {})) destroyBuffer(gpu, 'training', buffer);
  }

  return {
    accumulate(batch, patch, targetsOfStep) {
      const session = sessionOf(patch);
      const own = { ...batch, tokens: batch.tokens.slice(), targets: batch.targets.slice() };
      const { generation } = session;
      session.queue = session.queue.then(async () => {
        if (session.failure !== undefined || session.generation !== generation) return;
        try {
          await microBatch(session, own, targetsOfStep);
        } catch (error) {
          if (session.generation === generation) session.failure = error;
        }
        // loadState came while it ran: what it added is of the dropped past.
        if (session.generation !== generation && sessions.get(patch) === session) clearGradients(session);
      });
    },

    async update(patch, options) {
      const session = sessionOf(patch);
      await settled(session);
      const tensors = await stepTensors(session);
      const plan = await updatePlan(session, tensors);
      session.staging ??= gpu.device.createBuffer({ label: 'report', size: REPORT_BYTES, usage: MAP_READ | COPY_DST });
      const { staging } = session;
      session.step++;
      upload(gpu, tensors.options, optionNumbers(options, session.step));
      await plan.run({
        tail: (encoder) => {
          encoder.copyBufferToBuffer(tensors.report.buffer, 0, staging, 0, REPORT_BYTES);
          encoder.clearBuffer(tensors.report.buffer);
        },
      });
      const [loss, gradNorm] = new Float32Array(await readStaging(gpu, staging, REPORT_BYTES));
      return { loss, gradNorm };
    },

    async gradients(patch) {
      await settled(sessionOf(patch));
      const gradients = new Map<string, Float32Array>();
      for (const [name, tensor] of patch.tensors) gradients.set(name, await download(gpu, trainingTensor(patch, tensor, 'g')));
      return gradients;
    },

    async saveState(patch) {
      const session = sessionOf(patch);
      await settled(session);
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
      if (!sameSizes(buffers, state)) {
        throw new AppError('engine/other-state', 'This training state belongs to another set of trained tensors.', {
          fix: 'Load it into a patch of the same parts, ranks and sizes.',
        });
      }
      buffers.forEach(({ w, m, v }, i) => {
        upload(gpu, w, state.buffers[i].w);
        upload(gpu, m, state.buffers[i].m);
        upload(gpu, v, state.buffers[i].v);
      });
      clearGradients(session);
      session.step = state.step;
      session.counter = state.counter ?? 0;
      session.generation++;
      session.failure = undefined;
    },

    release,
    dispatches(patch) {
      const { workspace, update } = sessionOf(patch);
      return { microBatch: workspace === undefined ? 0 : workspaceDispatches(workspace), update: update?.dispatches ?? 0 };
    },
    dispose() {
      for (const patch of [...sessions.keys()]) release(patch);
    },
  };
}

interface TrainedBuffer {
  readonly w: Tensor;
  readonly g: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  readonly decay: boolean;
}
/** @throws 'engine/not-trainable' */
function trainedBuffers(patch: LoadedPatch): TrainedBuffer[] {
  return patch.buffers.map(({ w, decay, training }) => {
    if (training === undefined) throw new AppError('engine/not-trainable', 'This patch was made for use alone, and cannot be trained.');
    return { w, ...training, decay };
  });
}
/** Pieces of a buffer that each fit a binding. */
function slices(tensor: Tensor): Tensor[] {
  const most = MAX_BINDING_BYTES / 4;
  const n = elements(tensor.shape);
  return Array.from({ length: Math.ceil(n / most) }, (_, i) => ({
    ...tensor,
    offset: tensor.offset + 4 * i * most,
    shape: [Math.min(most, n - i * most)],
  }));
}
function sameSizes(buffers: readonly TrainedBuffer[], state: OptimizerState): boolean {
  if (buffers.length !== state.buffers.length) return false;
  return buffers.every(({ w }, i) => Object.values(state.buffers[i]).every((bytes) => bytes.byteLength === tensorBytes(w.shape, 'f32')));
}

/** @throws 'engine/bad-batch', 'text/too-long' */
function checkBatch({ V, context }: ModelConfig, { tokens, targets, shape: [B, T], segments }: Batch, targetsOfStep: number): void {
  const bad = (what: string): AppError => new AppError('engine/bad-batch', what, { facts: { B, T, targetsOfStep } });
  if (T > context) {
    throw new AppError('text/too-long', `A row has ${T} tokens, and this model reads at most ${context}.`, {
      facts: { tokens: T, context },
    });
  }
  if (B < 1 || T < 1 || tokens.length !== B * T || targets.length !== B * T) {
    throw bad(`A batch of ${B} × ${T} has ${tokens.length} tokens and ${targets.length} targets.`);
  }
  if (!tokens.every((id) => id < V) || !targets.every((id) => id < V)) throw bad(`A batch has an id outside the vocabulary of ${V}.`);
  if (!(targetsOfStep > 0)) throw bad(`A step of ${targetsOfStep} targets cannot be averaged over.`);
  if (segments !== undefined) throw bad('Several rows a line (segments) cannot be trained on yet.');
}
