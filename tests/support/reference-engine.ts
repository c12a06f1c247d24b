// The engine's interface over the reference network, in host memory: what the training loop and the runner do can be checked without a GPU, and what the
// real engine does can be compared with it. Slow; for the tiny fixtures.
import { readFileSync } from 'node:fs';
import { adamwStep, clipCoefficient } from '../../src/engine/reference.ts';
import { type ReferencePart, referenceModel } from '../../src/engine/reference-model.ts';
import type { AdamW, Batch, Engine, HostPart, HostTensor, OptimizerState, Patch, PatchOptions, Sampling } from '../../src/engine/types.ts';
import { readSafetensors, tensorNumbers } from '../../src/formats/safetensors.ts';
import { AppError } from '../../src/lib/error.ts';
import { fixture, fixtureConfig } from './fixtures.ts';

interface Trained {
  readonly parts: readonly HostPart[];
  readonly tensors: readonly HostTensor[];
  readonly options: PatchOptions;
  readonly gradients: Map<string, Float32Array>;
  readonly m: Map<string, Float32Array>;
  readonly v: Map<string, Float32Array>;
  step: number;
  /** Micro-batches since the start: dropout's counter. */
  counter: number;
  loss: number;
}

function tensorsOf(part: HostPart): HostTensor[] {
  if (part.kind === 'low-rank') return [part.A, part.B];
  if (part.kind === 'weights') return [part.values];
  throw new AppError('engine/part-unsupported', `Parts of the kind ${part.kind} are not built here.`);
}

/** An Engine over a model's fixture folder. Patches hold no GPU tensors: `parts` and `tensors` of a Patch are empty, `readPatch` gives them. */
export function referenceEngine(folder: string): Engine {
  const config = fixtureConfig(folder);
  const { tensors } = readSafetensors(new Uint8Array(readFileSync(fixture(`${folder}/model.safetensors`))), folder);
  const weights = new Map(
    [...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, data: Float32Array.from(tensorNumbers(tensor)) }]),
  );
  const model = referenceModel(config, weights);
  const patches = new Map<Patch, Trained>();
  const trained = (patch: Patch): Trained => {
    const found = patches.get(patch);
    if (found === undefined) throw new AppError('engine/patch-disposed', 'This patch is not on this engine.');
    return found;
  };
  const partsOf = (patch: Patch | undefined): readonly ReferencePart[] => (patch === undefined ? [] : trained(patch).parts);
  const answer = (prompt: Uint32Array, { maxTokens, stopIds }: Sampling, patch: Patch | undefined): Uint32Array => {
    if (prompt.length >= config.context)
      throw new AppError('text/too-long', `The prompt has ${prompt.length} tokens and the context ${config.context}.`);
    return model.greedy(prompt, Math.min(maxTokens, config.context - prompt.length), stopIds, partsOf(patch), patch?.strength ?? 1);
  };
  const memory = { weights: 0, activations: 0, training: 0 };
  return {
    ...{ config, storage: 'f32', kernels: 'reference', flopsPerSecond: 1e9, memory, lost: new Promise<string>(() => {}) },
    ...{ tuning: undefined, tune: async () => undefined },
    score: async (tokens, shape, patch) => Float32Array.from(model.score(tokens, shape, partsOf(patch), patch?.strength ?? 1)),
    logits: async (tokens, shape, patch) => Float32Array.from(model.logits(tokens, shape, partsOf(patch), patch?.strength ?? 1)),
    async *generate(prompt, options, patch, signal) {
      for (const token of answer(prompt, options, patch)) {
        if (signal?.aborted === true) return;
        yield token;
      }
    },
    async *generateMany(prompts, options, patch, signal) {
      for (const [row, prompt] of prompts.entries()) {
        if (signal?.aborted === true) return;
        yield { row, tokens: answer(prompt, options, patch) };
      }
    },
    createPatch(parts, options) {
      const copies = parts.map((part) => structuredClone(part));
      const all = copies.flatMap(tensorsOf);
      const zeros = (): Map<string, Float32Array> => new Map(all.map(({ name, data }) => [name, new Float32Array(data.length)]));
      const patch: Patch = { parts: [], tensors: new Map(), strength: 1, trainable: options.trainable, dropout: options.dropout ?? 0 };
      patches.set(patch, {
        parts: copies,
        tensors: all,
        options,
        gradients: zeros(),
        m: zeros(),
        v: zeros(),
        step: 0,
        counter: 0,
        loss: 0,
      });
      return patch;
    },
    readPatch: async (patch) => new Map(trained(patch).tensors.map((tensor) => [tensor.name, structuredClone(tensor)])),
    disposePatch: (patch) => {
      patches.delete(patch);
    },
    readWeights: async (name) => {
      const { shape, data } = weights.get(name) ?? { shape: [], data: new Float32Array(0) };
      return { name, shape, data: data.slice() };
    },
    accumulate(batch: Batch, patch: Patch, targetsOfStep: number) {
      const own = trained(patch);
      const dropout = { dropout: patch.dropout, seed: own.options.seed ?? 0, counter: own.counter++ };
      const { loss, gradients } = model.lossAndGradients(batch, own.parts, targetsOfStep, patch.dropout > 0 ? dropout : undefined);
      own.loss += loss;
      for (const [name, gradient] of gradients) {
        const sum = own.gradients.get(name);
        gradient.forEach((g, i) => {
          if (sum !== undefined) sum[i] += g;
        });
      }
    },
    async update(patch: Patch, options: AdamW) {
      const own = trained(patch);
      let squares = 0;
      for (const gradient of own.gradients.values()) for (const g of gradient) squares += g * g;
      const result = { loss: own.loss, gradNorm: Math.sqrt(squares) };
      own.step++;
      for (const { name, data } of own.tensors) {
        const [g, m, v] = [own.gradients, own.m, own.v].map((map) => map.get(name) ?? new Float32Array(0));
        adamwStep(
          data,
          m,
          v,
          g,
          own.step,
          options,
          clipCoefficient(result.gradNorm, options.clipNorm),
          own.options.noDecay?.(name) !== true,
        );
        g.fill(0);
      }
      own.loss = 0;
      return result;
    },
    gradients: async (patch) => new Map([...trained(patch).gradients].map(([name, gradient]) => [name, gradient.slice()])),
    saveState: async (patch) => {
      const own = trained(patch);
      const bytes = (data: Float32Array | undefined): Uint8Array => new Uint8Array((data ?? new Float32Array(0)).slice().buffer);
      return {
        step: own.step,
        counter: own.counter,
        buffers: own.tensors.map(({ name, data }) => ({ w: bytes(data), m: bytes(own.m.get(name)), v: bytes(own.v.get(name)) })),
      };
    },
    loadState(patch: Patch, state: OptimizerState) {
      const own = trained(patch);
      own.step = state.step;
      own.counter = state.counter ?? 0;
      own.loss = 0;
      own.tensors.forEach(({ name, data }, i) => {
        data.set(new Float32Array(state.buffers[i].w.slice().buffer));
        own.m.get(name)?.set(new Float32Array(state.buffers[i].m.slice().buffer));
        own.v.get(name)?.set(new Float32Array(state.buffers[i].v.slice().buffer));
        own.gradients.get(name)?.fill(0);
      });
    },
    planTraining: () => memory,
    dispose: () => patches.clear(),
  };
}
