// One model on one GPU: puts weights, patches, inference and training together behind the Engine interface.
import type { ModelConfig, ModelSource } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';
import { hashText } from '../lib/random.ts';
import { linearForward } from './calls.ts';
import { decode } from './generate.ts';
import { createTensor, destroyBuffer, type Gpu, kernelSource, Plan, VARIANTS } from './gpu.ts';
import { Inference } from './inference.ts';
import { createPatch, disposePatch, type LoadedPatch, readPatch } from './patch.ts';
import { allLogits, score } from './score.ts';
import { createTrainer } from './train.ts';
import { chooseVariants, untuned, useVariants, variantNames } from './tuning.ts';
import type { Engine, Patch, StoragePlan, Tuning } from './types.ts';
import {
  checkConfig,
  checkTensors,
  disposeWeights,
  type LoadedWeights,
  type LoadOptions,
  loadWeights,
  readWeights,
  weightShapes,
} from './weights.ts';
import { planTraining } from './workspace.ts';

export interface EngineOptions extends LoadOptions {
  readonly storage: StoragePlan;
  /** What was remembered; it is used where it is of this device and these kernels. */
  readonly tuning?: Tuning | undefined;
}

/** Loads a model's weights onto the GPU. Where the source says its tensors beforehand, they are checked before anything is allocated.
 *  @throws 'model/missing-tensor', 'model/shape-mismatch', 'model/unsupported-size', 'gpu/out-of-memory'; the signal's reason on abort */
export async function createEngine(
  gpu: Gpu,
  source: Pick<ModelSource, 'config' | 'tensors'> & Partial<Pick<ModelSource, 'tensorInfos'>>,
  options: EngineOptions,
): Promise<Engine> {
  const { config } = source;
  checkConfig(config);
  if (source.tensorInfos !== undefined) checkTensors(config, source.tensorInfos);
  const weights = await loadWeights(gpu, config, source.tensors(), options.storage, { types: source.tensorInfos, ...options });
  const hash = kernelsHash();
  const remembered = options.tuning;
  let tuning = remembered?.device === gpu.name && remembered.kernels === hash ? remembered : undefined;
  useVariants(gpu, tuning?.chosen ?? untuned(gpu));
  try {
    gpu.flopsPerSecond = await measureFlops(gpu, config, weights);
  } catch (error) {
    disposeWeights(gpu, weights);
    throw error;
  }
  const inference = new Inference(gpu, config, weights, options.memoryLimit);
  const trainer = createTrainer(gpu, config, options.memoryLimit);
  const patches = new Set<LoadedPatch>();
  let disposed = false;

  function loaded(patch: Patch): LoadedPatch {
    if (disposed) throw new AppError('engine/disposed', 'This model has been unloaded.', { fix: 'Load it again.' });
    for (const own of patches) if (own === patch) return own;
    throw new AppError('engine/patch-disposed', 'This adapter is not loaded in this model.', { fix: 'Load it again.' });
  }
  const maybeLoaded = (patch: Patch | undefined): LoadedPatch | undefined => patch && loaded(patch);
  const modelOf = (patch: LoadedPatch | undefined) => patch?.weights ?? weights.model;

  return {
    config,
    storage: options.storage,
    get kernels() {
      return `${hash}, ${variantNames(tuning?.chosen ?? untuned(gpu))}`;
    },
    get tuning() {
      return tuning;
    },
    async tune(stop) {
      if ([...patches].some(({ trainable }) => trainable)) return undefined; // its plans are recorded
      const chosen = await chooseVariants(gpu, config, weights.model, () => disposed || stop());
      if (chosen === undefined || disposed || stop()) return undefined;
      tuning = { device: gpu.name, kernels: hash, chosen };
      useVariants(gpu, chosen);
      // Plans that were recorded before are made again at their next use.
      inference.forgetPlans();
      return tuning;
    },
    get flopsPerSecond() {
      return gpu.flopsPerSecond;
    },
    get memory() {
      return { ...gpu.memory };
    },
    lost: gpu.lost,

    async score(tokens, shape, patch) {
      const own = maybeLoaded(patch);
      checkTokens(config, tokens, shape);
      return score(inference, modelOf(own), tokens, shape, own);
    },
    async logits(tokens, shape, patch) {
      const own = maybeLoaded(patch);
      checkTokens(config, tokens, shape);
      return allLogits(inference, modelOf(own), tokens, shape, own);
    },
    async *generate(prompt, sampling, patch, signal) {
      const own = maybeLoaded(patch);
      checkTokens(config, prompt, [1, prompt.length]);
      for await (const { id } of decode(inference, modelOf(own), [prompt], sampling, own, signal)) yield id;
    },
    async *generateMany(prompts, sampling, patch, signal) {
      const own = maybeLoaded(patch);
      for (const prompt of prompts) checkTokens(config, prompt, [1, prompt.length]);
      const made = prompts.map((): number[] => []);
      for await (const { row, id, ended } of decode(inference, modelOf(own), prompts, sampling, own, signal)) {
        made[row].push(id);
        if (ended) yield { row, tokens: Uint32Array.from(made[row]) };
      }
    },

    createPatch(parts, patchOptions) {
      const patch = createPatch(gpu, config, weights, parts, patchOptions);
      patches.add(patch);
      return patch;
    },
    readPatch: async (patch) => readPatch(gpu, loaded(patch)),
    disposePatch(patch) {
      const own = loaded(patch);
      patches.delete(own);
      inference.forget(own);
      trainer.release(own);
      disposePatch(gpu, own);
    },
    readWeights: async (name) => readWeights(gpu, weights, name, weightShapes(config).get(name)),

    accumulate(batch, patch, targetsOfStep) {
      checkTokens(config, batch.tokens, batch.shape);
      trainer.accumulate(batch, loaded(patch), targetsOfStep);
    },
    update: async (patch, stepOptions) => trainer.update(loaded(patch), stepOptions),
    gradients: async (patch) => trainer.gradients(loaded(patch)),
    saveState: async (patch) => trainer.saveState(loaded(patch)),
    loadState: (patch, state) => trainer.loadState(loaded(patch), state),
    planTraining: (shape, trainedValues, kind, recompute) => planTraining(config, shape, trainedValues, kind, recompute),

    dispose() {
      if (disposed) return;
      disposed = true;
      trainer.dispose();
      for (const patch of patches) disposePatch(gpu, patch);
      patches.clear();
      inference.dispose();
      disposeWeights(gpu, weights);
    },
  };
}

function checkTokens({ V, context }: ModelConfig, tokens: Uint32Array, [B, T]: readonly [number, number]): void {
  if (tokens.length !== B * T) throw new AppError('text/shape', `${tokens.length} tokens are not ${B} rows of ${T}.`);
  if (T > context) {
    throw new AppError('text/too-long', `A row has ${T} tokens, and this model reads at most ${context}.`, {
      facts: { tokens: T, context },
    });
  }
  const unknown = tokens.find((token) => token >= V);
  if (unknown === undefined) return;
  throw new AppError('text/unknown-token', `The text has the token ${unknown}, and this model knows ${V}: 0 to ${V - 1}.`, {
    why: 'The tokenizer and the weights belong to different models.',
    fix: 'Choose the files of one model.',
    facts: { token: unknown, V },
  });
}

/** Names what the numbers depend on: other kernels, other last bits. */
function kernelsHash(): string {
  const names = Object.keys(VARIANTS).sort();
  const hash = hashText(names.map((name) => kernelSource(name)).join('\n'));
  return `direct ${hash.toString(16).padStart(8, '0')}`;
}

/** FLOP/s of a linear of this model: as many in one submit as take about 30 ms, since a fast GPU ends one before it can be timed; the best of three runs,
 *  since other programs may be at work. */
async function measureFlops(gpu: Gpu, config: ModelConfig, { model }: LoadedWeights): Promise<number> {
  const { C, F } = config;
  const M = Math.max(64, Math.min(1024, Math.ceil(2e7 / (2 * C * F) / 64) * 64));
  const [x, y] = [createTensor(gpu, 'measure x', 'activations', [M, C]), createTensor(gpu, 'measure y', 'activations', [M, F])];
  const calls = linearForward(y, x, model.layers[0].linears.gate_proj);
  const flops = calls.reduce((sum, call) => sum + call.flops, 0);
  const guess = gpu.flopsPerSecond;
  gpu.paces.length = 0; // of another model
  gpu.flopsPerSecond = Number.MAX_VALUE; // one submit, nothing cut
  /** Seconds of the fastest of `runs` submits of `times` linears, after one that is not timed. */
  const seconds = async (times: number, runs: number): Promise<number> => {
    const plan = new Plan(gpu, 'measure');
    for (let i = 0; i < times; i++) for (const call of calls) plan.add(call);
    await plan.prepare();
    let best = Number.POSITIVE_INFINITY;
    for (let run = 0; run <= runs; run++) {
      const start = performance.now();
      await plan.run();
      await gpu.device.queue.onSubmittedWorkDone();
      if (run > 0) best = Math.min(best, (performance.now() - start) / 1000);
    }
    plan.dispose();
    return best;
  };
  try {
    let times = 1;
    let best = await seconds(times, 2);
    while (best < 0.015 && times < 512) {
      times = Math.min(512, times * Math.max(2, Math.min(8, Math.floor(0.03 / best))));
      best = await seconds(times, 3);
    }
    return (flops * times) / best;
  } finally {
    gpu.flopsPerSecond = guess;
    for (const tensor of [x, y]) destroyBuffer(gpu, 'activations', tensor.buffer);
  }
}
