// The measurements of one shape on one engine: a LoRA step, prompts read, tokens made and texts scored.
import { cpuUsage } from 'node:process';
import { createEngine } from '../../engine/engine.ts';
import type { Gpu } from '../../engine/gpu.ts';
import { planInference } from '../../engine/inference.ts';
import { type AdamW, type Engine, greedy, type Patch } from '../../engine/types.ts';
import { planModel } from '../../engine/weights.ts';
import { planTraining } from '../../engine/workspace.ts';
import { median } from '../../lib/stats.ts';
import type { GpuCounts } from './count-gpu.ts';
import { type KernelTime, profileKernels } from './profile.ts';
import { loraParts, loraValues, randomTensors, randomTokens, type Shape } from './shapes.ts';

export interface Measurement {
  readonly bench: string;
  readonly shape: string;
  /** Medians over the `runs` after the warm-up: wall time, and the time of all cores of this process (on a software GPU, the arithmetic's own). */
  readonly ms: number;
  readonly cpuMs: number;
  readonly runs: number;
  readonly tokens: number;
  readonly tokensPerSecond: number;
  /** Of one run, and bytes of live buffers after it. */
  readonly dispatches: number;
  readonly submits: number;
  readonly gpuBytes: number;
  /** Of the last run, for training. */
  readonly loss?: number;
}
/** GPU bytes that the engine plans before it takes any, against those that the device was asked for. */
export interface MemoryCheck {
  readonly what: string;
  readonly planned: number;
  readonly allocated: number;
}
export interface Profile {
  readonly bench: string;
  readonly shape: string;
  /** Of one profiled run, its dispatches in passes of their own. */
  readonly wallMs: number;
  readonly runs: number;
  readonly kernels: readonly KernelTime[];
}
export interface Report {
  readonly measurements: readonly Measurement[];
  readonly memory: readonly MemoryCheck[];
  readonly profiles: readonly Profile[];
  /** Bytes of the largest binding of all. */
  readonly largestBinding: number;
}

const ADAMW: AdamW = { lr: 5e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, clipNorm: 0 };
const PROMPT = 16;
const ROWS = 8;
const PROFILED_RUNS = 5;

interface Options {
  readonly profile: boolean;
  readonly onMeasurement: (measurement: Measurement) => void;
}

/** Loads random weights of the shape and measures what is asked for. */
export async function measureShape(gpu: Gpu, counts: GpuCounts, shape: Shape, { profile, onMeasurement }: Options): Promise<Report> {
  const { config, storage, B, T, rank, made, which } = shape;
  const before = counts.live;
  counts.largestBinding = 0;
  const engine = await createEngine(gpu, { config, tensors: () => randomTensors(config) }, { storage });
  const measurements: Measurement[] = [];
  const profiles: Profile[] = [];
  const memory: MemoryCheck[] = [];
  const weights = planModel(config, storage).weights;

  async function measure(bench: string, tokens: number, run: () => Promise<number | undefined>): Promise<void> {
    const one = await repeat(counts, shape, run);
    const tokensPerSecond = (tokens / one.ms) * 1000;
    const measurement = { bench, shape: shape.name, ...one, tokens, tokensPerSecond, gpuBytes: counts.live - before };
    measurements.push(measurement);
    onMeasurement(measurement);
    if (!profile) return;
    const start = performance.now();
    const runs = shape.warmup > 0 ? PROFILED_RUNS : 1;
    const kernels = await profileKernels(gpu, runs, run);
    if (kernels !== undefined) profiles.push({ bench, shape: shape.name, wallMs: (performance.now() - start) / runs, runs, kernels });
  }

  if (which.includes('train')) {
    const patch = engine.createPatch(loraParts(config, rank), { trainable: true });
    await measure('LoRA step', B * T, loraStep(engine, patch, shape));
    const { activations, training } = planTraining(config, [B, T], loraValues(config, rank));
    memory.push({ what: 'training', planned: weights + activations + training, allocated: counts.live - before });
    engine.disposePatch(patch);
  }
  if (which.includes('decode')) {
    const prompt = randomTokens('prompt', PROMPT, config.V);
    await measure('decode, 1 row', made, decodeOne(engine, prompt, made));
    const { activations } = planInference(config, 1, PROMPT + made);
    memory.push({ what: 'generating', planned: weights + activations, allocated: counts.live - before });
    const prompts = Array.from({ length: ROWS }, (_, i) => randomTokens(`prompt ${i}`, PROMPT, config.V));
    await measure(`decode, ${ROWS} rows`, ROWS * made, decodeMany(engine, prompts, made));
  }
  if (which.includes('prefill')) {
    const prompt = randomTokens('long prompt', Math.min(256, config.context / 2), config.V);
    await measure('prefill', prompt.length, decodeOne(engine, prompt, 1));
  }
  if (which.includes('score')) {
    const texts = randomTokens('texts', ROWS * T, config.V);
    await measure('score', ROWS * T, async () => void (await engine.score(texts, [ROWS, T])));
  }
  engine.dispose();
  return { measurements, memory, profiles, largestBinding: counts.largestBinding };
}

/** The same batch at every step, so that the loss must fall. */
function loraStep(engine: Engine, patch: Patch, { config, B, T }: Shape): () => Promise<number> {
  const row = randomTokens('batch', B * (T + 1), config.V);
  const place = (i: number): number => Math.floor(i / T) * (T + 1) + (i % T);
  const tokens = Uint32Array.from({ length: B * T }, (_, i) => row[place(i)]);
  const targets = Int32Array.from({ length: B * T }, (_, i) => row[place(i) + 1]);
  return async () => {
    engine.accumulate({ tokens, targets, shape: [B, T] }, patch, B * T);
    return (await engine.update(patch, ADAMW)).loss;
  };
}
function decodeOne(engine: Engine, prompt: Uint32Array, made: number): () => Promise<undefined> {
  return async () => {
    let count = 0;
    for await (const _ of engine.generate(prompt, greedy(made, []))) count++;
    if (count !== made) throw new Error(`${count} tokens were made, and ${made} were asked for.`);
    return undefined;
  };
}
function decodeMany(engine: Engine, prompts: readonly Uint32Array[], made: number): () => Promise<undefined> {
  return async () => {
    let count = 0;
    for await (const { tokens } of engine.generateMany(prompts, greedy(made, []))) count += tokens.length;
    if (count !== prompts.length * made) throw new Error(`${count} tokens were made, and ${prompts.length * made} were asked for.`);
    return undefined;
  };
}

type Repeated = Pick<Measurement, 'ms' | 'cpuMs' | 'runs' | 'dispatches' | 'submits' | 'loss'>;
async function repeat(counts: GpuCounts, { warmup, steps }: Shape, run: () => Promise<number | undefined>): Promise<Repeated> {
  for (let i = 0; i < warmup; i++) await run();
  const wall: number[] = [];
  const cpu: number[] = [];
  const { dispatches, submits } = counts;
  let loss: number | undefined;
  for (let i = 0; i < steps; i++) {
    const [start, usage] = [performance.now(), cpuUsage()];
    loss = await run();
    wall.push(performance.now() - start);
    const { user, system } = cpuUsage(usage);
    cpu.push((user + system) / 1000);
  }
  return {
    ms: median(wall),
    cpuMs: median(cpu),
    runs: steps,
    dispatches: (counts.dispatches - dispatches) / steps,
    submits: (counts.submits - submits) / steps,
    ...(loss === undefined ? {} : { loss }),
  };
}
