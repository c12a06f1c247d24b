// The device, tensors, upload, download, and plans of dispatches: the only file of the engine that talks to WebGPU's queue.
import { bytes as inWords } from '../lib/bytes.ts';
import { AppError } from '../lib/error.ts';
import type { Gpu, MemoryKind } from './device.ts';
import type { Tensor, WeightStorage } from './types.ts';

export { type Gpu, type MemoryKind, openGpu } from './device.ts';

const SOURCES = import.meta.glob<string>('../../shaders/*.wgsl', { query: '?raw', import: 'default', eager: true });

/** Each has a reader, `_weights_NAME.wgsl`. */
export const STORAGES: readonly WeightStorage[] = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q4f16_1', 'q4f32_1'];
/** A kernel that reads weights, for each storage. */
function readers(kernel: string, ...files: readonly string[]): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(STORAGES.map((storage) => [`${kernel}_${storage}`, [`_weights_${storage}`, ...files]]));
}

/** A kernel over so many matrices of one storage, with a low-rank part of each and without: see `kernelSource` for copies. */
function copies(kernel: string, matrices: number): Readonly<Record<string, readonly string[]>> {
  const files = (storage: string): string[] =>
    Array.from({ length: matrices }, (_, i) => `_weights_${storage} _few_sum${i === 0 ? '' : ` +${i}`}`);
  const variants = STORAGES.flatMap((storage) => [
    [`${kernel}_${storage}`, [...files(storage), '_low_rank_group_none', kernel]] as const,
    [`${kernel}_lora_${storage}`, [...files(storage), '_low_rank_group', kernel]] as const,
  ]);
  return Object.fromEntries(variants);
}

/** Every kernel variant, listed once: its name and the files of `shaders/` that are joined to make it. Tests walk this list. */
export const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  argmax: ['argmax'],
  attention_decode: ['attention_decode'],
  attention_decode_merge: ['attention_decode_merge'],
  attention_forward: ['attention_forward'],
  attention_forward_quad: ['_quad', 'attention_forward_quad'],
  decode_advance: ['decode_advance'],
  ...readers('embed_forward', 'embed_forward'),
  gather_rows: ['gather_rows'],
  ...readers('linear_forward_add', '_start_residual', '_low_rank_none', 'linear_forward'),
  ...readers('linear_forward_add_lora', '_start_residual', '_low_rank', 'linear_forward'),
  ...readers('linear_forward', '_start_zero', '_low_rank_none', 'linear_forward'),
  ...readers('linear_forward_lora', '_start_zero', '_low_rank', 'linear_forward'),
  ...readers('linear_forward_few_add', '_start_residual', '_low_rank_none', '_few_sum', 'linear_forward_few'),
  ...readers('linear_forward_few_add_lora', '_start_residual', '_low_rank', '_few_sum', 'linear_forward_few'),
  ...readers('linear_forward_few', '_start_zero', '_low_rank_none', '_few_sum', 'linear_forward_few'),
  ...readers('linear_forward_few_lora', '_start_zero', '_low_rank', '_few_sum', 'linear_forward_few'),
  ...readers('linear_forward_wide_add', '_start_residual', '_low_rank_none', 'linear_forward_wide'),
  ...readers('linear_forward_wide_add_lora', '_start_residual', '_low_rank', 'linear_forward_wide'),
  ...readers('linear_forward_wide', '_start_zero', '_low_rank_none', 'linear_forward_wide'),
  ...readers('linear_forward_wide_lora', '_start_zero', '_low_rank', 'linear_forward_wide'),
  ...readers('linear_forward_quad_add', '_quad', '_start_residual', '_low_rank_none', 'linear_forward_quad'),
  ...readers('linear_forward_quad_add_lora', '_quad', '_start_residual', '_low_rank', 'linear_forward_quad'),
  ...readers('linear_forward_quad', '_quad', '_start_zero', '_low_rank_none', 'linear_forward_quad'),
  ...readers('linear_forward_quad_lora', '_quad', '_start_zero', '_low_rank', 'linear_forward_quad'),
  ...copies('linear_forward_three', 3),
  ...copies('linear_forward_swiglu', 2),
  log_probability: ['log_probability'],
  log_sum_exp: ['log_sum_exp'],
  lora_down: ['_lora', '_keep_all', 'lora_down'],
  rmsnorm_forward: ['rmsnorm_forward'],
  rope_cache: ['rope_cache'],
  rope_forward: ['rope_forward'],
  sample_token: ['sample_token'],
  swiglu_forward: ['swiglu_forward'],
  adamw_step: ['adamw_step'],
  attention_backward_delta: ['attention_backward_delta'],
  attention_backward_dkv: ['_attention_backward', 'attention_backward_dkv'],
  attention_backward_dq: ['_attention_backward', 'attention_backward_dq'],
  attention_backward_dkv_quad: ['_quad', '_attention_backward_quad', 'attention_backward_dkv_quad'],
  attention_backward_dq_quad: ['_quad', '_attention_backward_quad', 'attention_backward_dq_quad'],
  clip_coefficient: ['clip_coefficient'],
  cross_entropy_backward: ['cross_entropy_backward'],
  cross_entropy_lse: ['cross_entropy_lse'],
  embed_backward: ['embed_backward'],
  ...readers('linear_backward_input', '_low_rank_none', '_keep_all', 'linear_backward_input'),
  ...readers('linear_backward_input_lora', '_low_rank_backward', '_keep_all', 'linear_backward_input'),
  ...readers('linear_backward_input_dropout', '_low_rank_backward', '_dropout', 'linear_backward_input'),
  ...readers('linear_backward_input_quad', '_quad', '_low_rank_none', '_keep_all', 'linear_backward_input_quad'),
  ...readers('linear_backward_input_quad_lora', '_quad', '_low_rank_backward', '_keep_all', 'linear_backward_input_quad'),
  ...readers('linear_backward_input_quad_dropout', '_quad', '_low_rank_backward', '_dropout', 'linear_backward_input_quad'),
  linear_backward_weight: ['linear_backward_weight'],
  lora_backward_factors: ['_lora', '_keep_all', 'lora_backward_factors'],
  lora_backward_factors_dropout: ['_lora', '_dropout', 'lora_backward_factors'],
  lora_backward_hidden: ['_lora', 'lora_backward_hidden'],
  lora_down_dropout: ['_lora', '_dropout', 'lora_down'],
  loss_sum: ['loss_sum'],
  rmsnorm_backward: ['rmsnorm_backward'],
  rmsnorm_backward_gain: ['rmsnorm_backward_gain'],
  rope_backward: ['rope_backward'],
  sum_of_squares: ['sum_of_squares'],
  swiglu_backward: ['swiglu_backward'],
};

/** Bindings stay within WebGPU's default limit, so that every device can run every plan. */
export const MAX_BINDING_BYTES = 128 * 1024 * 1024;
/** Tensors start at multiples of this, so that any of them can be bound: the default minStorageBufferOffsetAlignment. */
export const ALIGNMENT_BYTES = 256;
/** No dispatch and no submit is planned to take longer than this, so that Stop answers and no driver's watchdog bites. */
export const BUDGET_SECONDS = 0.2;
/** Submits that may wait on the GPU at once: one runs while the next is recorded. */
const IN_FLIGHT = 2;

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}
/** Blocks of 32 numbers come in eights on the GPU, so that a reader finds where their scales begin from the size of what is bound. */
export const BLOCKS_AT_ONCE = 8;
const BLOCK_BYTES: Readonly<Partial<Record<Tensor['dtype'], number>>> = { q8_0: 34, q4_0: 18, q4_1: 20, q4f16_1: 18, q4f32_1: 20 };
/** Bytes of a tensor. Numbers of 16 bits are packed in pairs. */
export function tensorBytes(shape: readonly number[], dtype: Tensor['dtype']): number {
  const n = elements(shape);
  const block = BLOCK_BYTES[dtype];
  if (block !== undefined) return Math.ceil(n / 32 / BLOCKS_AT_ONCE) * BLOCKS_AT_ONCE * block;
  return dtype === 'f16' || dtype === 'bf16' ? Math.ceil(n / 2) * 4 : n * 4;
}
export function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

/** A buffer of its own, zeroed, counted under `kind`. Bytes are rounded up so that a vec4 read at the end stays inside. */
export function createBuffer(gpu: Gpu, label: string, kind: MemoryKind, bytes: number): GPUBuffer {
  const size = Math.max(aligned(bytes), ALIGNMENT_BYTES);
  const buffer = gpu.device.createBuffer({ label, size, usage: GPU_STORAGE | GPU_COPY_SRC | GPU_COPY_DST });
  gpu.memory[kind] += size;
  return buffer;
}
export function createTensor(gpu: Gpu, label: string, kind: MemoryKind, shape: readonly number[], dtype: Tensor['dtype'] = 'f32'): Tensor {
  return { buffer: createBuffer(gpu, label, kind, tensorBytes(shape, dtype)), offset: 0, shape, dtype };
}
export function destroyBuffer(gpu: Gpu, kind: MemoryKind, buffer: GPUBuffer): void {
  gpu.memory[kind] -= buffer.size;
  buffer.destroy();
}

/** Runs `make` and rejects with 'gpu/out-of-memory' or 'gpu/invalid' if anything that it created failed. */
export async function allocating<T>(gpu: Gpu, what: string, bytes: number, make: () => T, fix?: string): Promise<T> {
  gpu.device.pushErrorScope('validation');
  gpu.device.pushErrorScope('out-of-memory');
  const made = make();
  const [full, invalid] = await Promise.all([gpu.device.popErrorScope(), gpu.device.popErrorScope()]);
  if (full !== null || gpu.isLost) {
    throw new AppError('gpu/out-of-memory', `${what} needs ${inWords(bytes)} of GPU memory, and the GPU has not that much left.`, {
      why: full?.message ?? 'The GPU was lost while memory was being taken.',
      fix: fix ?? 'Close other tabs that use the GPU, choose a smaller batch or a shorter text, or a smaller model.',
      facts: { bytes },
    });
  }
  if (invalid !== null) throw new AppError('gpu/invalid', `${what} could not be set up on this GPU.`, { why: invalid.message });
  return made;
}

/** Writes bytes into a tensor at once (queue order). `at` counts in bytes from the tensor's start. */
export function upload(gpu: Gpu, tensor: Tensor, data: ArrayBufferView, at = 0): void {
  gpu.device.queue.writeBuffer(tensor.buffer, tensor.offset + at, data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
}
/** Reads `bytes` (a multiple of 4) back. One round trip. @throws 'gpu/lost' */
export async function downloadBytes(gpu: Gpu, buffer: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
  const staging = createStaging(gpu, bytes);
  const encoder = gpu.device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, offset, staging, 0, bytes);
  gpu.device.queue.submit([encoder.finish()]);
  try {
    return await readStaging(gpu, staging, bytes);
  } finally {
    staging.destroy();
  }
}
export async function download(gpu: Gpu, tensor: Tensor): Promise<Float32Array> {
  return new Float32Array(await downloadBytes(gpu, tensor.buffer, tensor.offset, tensorBytes(tensor.shape, tensor.dtype)));
}
/** A buffer to read back through, outside of the planned memory: hold it and use it again. */
export function createStaging(gpu: Gpu, bytes: number): GPUBuffer {
  return gpu.device.createBuffer({ label: 'staging', size: bytes, usage: GPU_COPY_DST | GPU_MAP_READ });
}
/** Maps a staging buffer, copies it out and unmaps it. What a lost device hands out is never taken for a result. @throws 'gpu/lost' */
export async function readStaging(gpu: Gpu, staging: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
  try {
    await staging.mapAsync(GPU_MAP_MODE_READ, 0, bytes);
  } catch (cause) {
    throw lostError(cause);
  }
  if (gpu.isLost) throw lostError(undefined);
  const copy = staging.getMappedRange(0, bytes).slice(0);
  staging.unmap();
  return copy;
}
function lostError(cause: unknown): AppError {
  return new AppError('gpu/lost', 'The GPU was lost while it was working.', {
    why: 'Another program or the driver reset it, or it ran out of memory.',
    fix: 'Load the model again; what was saved is safe.',
    cause,
  });
}

/** A number of a kernel's `Params`: u32 unless marked as f32. */
export type Param = number | { readonly f32: number };

/** One call of a kernel, as a plan records it. */
export interface Call {
  /** A name of VARIANTS. */
  readonly kernel: string;
  /** `override` constants of the WGSL. A missing or misspelled one fails when the pipeline is made. */
  readonly overrides?: Readonly<Record<string, number>>;
  /** Numbers put in front of the WGSL as `const NAME: u32`, where the language wants a size before overrides exist: that of a function's array. */
  readonly constants?: Readonly<Record<string, number>>;
  /** Tensors in the order of the kernel's storage bindings 1, 2, 3 ...; undefined where a variant leaves a binding out. */
  readonly tensors: readonly (Tensor | undefined)[];
  /** Fields of `Params` (uniform, binding 0) after its first, `first`: the workgroup index along x at which a dispatch begins, which the plan fills in. */
  readonly params?: readonly Param[];
  /** Workgroups. A call that would take too long, or more than 65 535 along x, is cut into several dispatches along x. */
  readonly grid: readonly [x: number, y?: number, z?: number];
  /** Multiply-adds count as two; what the dispatch is expected to cost, for cutting and for submits. */
  readonly flops: number;
}

interface Step {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  readonly flops: number;
}

/** `tail` may add copies to the last submit. */
export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  readonly tail?: (encoder: GPUCommandEncoder) => void;
}

/** A static list of dispatches with cached bind groups: recorded once for a shape, replayed each step. What changes between replays is written into
 *  tensors beforehand, never into the plan. */
export class Plan {
  readonly label: string;
  private readonly gpu: Gpu;
  private readonly calls: Call[] = [];
  /** Of `prepare`; for `runPlans`. */
  steps: readonly Step[] = [];
  private uniforms: GPUBuffer | undefined;

  constructor(gpu: Gpu, label: string) {
    this.gpu = gpu;
    this.label = label;
  }

  add(call: Call): void {
    this.calls.push(this.gpu.rewrite?.(call) ?? call);
  }
  /** For measuring: whatever this device prefers. */
  addAsIs(call: Call): void {
    this.calls.push(call);
  }
  /** Tensors that a call may have on this device. */
  get mostTensors(): number {
    return this.gpu.device.limits.maxStorageBuffersPerShaderStage;
  }
  get dispatches(): number {
    return this.steps.length;
  }
  /** What one replay is expected to take, in seconds. */
  get seconds(): number {
    return this.steps.reduce((sum, { flops }) => sum + flops, 0) / pace(this.gpu);
  }

  /** Makes pipelines and bind groups. Once, before the first run. @throws 'gpu/kernel' with the kernel's name and the compiler's message */
  async prepare(): Promise<void> {
    const pieces = this.calls.flatMap((call) => cut(this.gpu, call));
    const slot = (i: number): number => i * ALIGNMENT_BYTES;
    this.uniforms = this.gpu.device.createBuffer({
      label: `${this.label} params`,
      size: Math.max(slot(pieces.length), ALIGNMENT_BYTES),
      usage: GPU_UNIFORM | GPU_COPY_DST,
    });
    const words = new ArrayBuffer(this.uniforms.size);
    const u32 = new Uint32Array(words);
    const f32 = new Float32Array(words);
    const uniforms = this.uniforms;
    const pipelines = await Promise.all(pieces.map(({ call }) => pipeline(this.gpu, call.kernel, call.overrides ?? {}, call.constants)));
    this.steps = pieces.map(({ call, first, x }, i) => {
      const at = slot(i) / 4;
      u32[at] = first;
      (call.params ?? []).forEach((value, k) => {
        if (typeof value === 'number') u32[at + 1 + k] = value;
        else f32[at + 1 + k] = value.f32;
      });
      const entries: GPUBindGroupEntry[] = [{ binding: 0, resource: { buffer: uniforms, offset: slot(i), size: ALIGNMENT_BYTES } }];
      call.tensors.forEach((tensor, k) => {
        if (tensor === undefined) return;
        const size = Math.max(Math.ceil(tensorBytes(tensor.shape, tensor.dtype) / 16) * 16, 16);
        entries.push({
          binding: k + 1,
          resource: { buffer: tensor.buffer, offset: tensor.offset, size: Math.min(size, tensor.buffer.size - tensor.offset) },
        });
      });
      const made = pipelines[i]!;
      return {
        pipeline: made,
        group: this.gpu.device.createBindGroup({ label: call.kernel, layout: made.getBindGroupLayout(0), entries }),
        grid: [x, call.grid[1] ?? 1, call.grid[2] ?? 1] as const,
        flops: (call.flops * x) / call.grid[0],
      };
    });
    this.gpu.device.queue.writeBuffer(uniforms, 0, words);
  }

  /** Replays this plan so many times in one submit, however long that takes: for measuring, after a few have said how long. */
  repeat(times: number): void {
    const encoder = this.gpu.device.createCommandEncoder({ label: this.label });
    const pass = encoder.beginComputePass({ label: this.label });
    for (let i = 0; i < times; i++) for (const step of this.steps) dispatch(pass, step);
    pass.end();
    this.gpu.device.queue.submit([encoder.finish()]);
  }
  /** Replays this plan alone: see `runPlans`. */
  run(options: RunOptions = {}): Promise<boolean> {
    return runPlans(this.gpu, [this], options);
  }

  dispose(): void {
    this.uniforms?.destroy();
    this.steps = [];
  }
}

/** Replays plans one after the other, in as few submits as stay within the budget each. Resolves when the last one is submitted (not when it is done), false
 *  if the signal stopped it before the end. With a signal each submit waits for the one before it, and without a tail (whose copies someone waits for) the
 *  last one is waited for too: an abort never finds more than one at work. */
export async function runPlans(gpu: Gpu, plans: readonly Plan[], { signal, tail }: RunOptions = {}): Promise<boolean> {
  const { profile } = gpu;
  const { queue } = gpu.device;
  const { label } = plans[0];
  const steps = plans.flatMap((plan) => plan.steps);
  const waiting: Promise<unknown>[] = [];
  let at = 0;
  do {
    if (signal?.aborted) return false;
    const budget = pace(gpu) * BUDGET_SECONDS;
    const encoder = gpu.device.createCommandEncoder({ label });
    let pass = encoder.beginComputePass({ label });
    let spent = 0;
    const from = at;
    while (at < steps.length) {
      const step = steps[at]!;
      if (spent > 0 && spent + step.flops > budget) break;
      if (profile !== undefined) {
        pass.end();
        pass = encoder.beginComputePass({ label: step.group.label, timestampWrites: profile(step.group.label, step.flops) });
      }
      dispatch(pass, step);
      spent += step.flops;
      at++;
    }
    pass.end();
    if (at >= steps.length) tail?.(encoder);
    const start = performance.now();
    gpu.onSubmit?.((spent / budget) * BUDGET_SECONDS, at - from);
    queue.submit([encoder.finish()]);
    const ends = at >= steps.length;
    const long = spent > budget / 4 && profile === undefined;
    const alone = signal !== undefined && !(ends && tail !== undefined);
    if (!ends || long || alone) {
      const done = queue.onSubmittedWorkDone().then(
        () => long && notePace(gpu, spent, start),
        () => undefined, // the device is lost, which whoever reads a result is told
      );
      if (!ends || alone) waiting.push(done);
      if (waiting.length >= (alone ? 1 : IN_FLIGHT)) await waiting.shift();
    }
  } while (at < steps.length);
  return true;
}

function dispatch(pass: GPUComputePassEncoder, { pipeline: kernel, group, grid }: Step): void {
  pass.setPipeline(kernel);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
}

/** Submits whose speed is remembered. */
const PACES = 9;
/** What plans expect of the GPU, FLOP/s as they count them: the third fastest of the last nine long submits, so that some that ran while other programs did are
 *  forgotten with the next few, and what was measured beforehand until there are three. */
function pace({ paces, flopsPerSecond }: Gpu): number {
  return paces.length < 3 ? flopsPerSecond : paces.toSorted((a, b) => b - a)[Math.floor(paces.length / 4)];
}
/** A submit of `flops` that began at `start` (ms) has just ended; it could not run before the one in front of it had. */
function notePace(gpu: Gpu, flops: number, start: number): void {
  const now = performance.now();
  gpu.paces.push((flops * 1000) / Math.max(0.1, now - Math.max(start, gpu.idleSince)));
  if (gpu.paces.length > PACES) gpu.paces.shift();
  gpu.idleSince = now;
}

/** FLOP/s, less than any device here does when it is idle: a machine that was busy while it was measured is no reason for more dispatches for ever. */
const SLOWEST = 5e8;
/** Cuts a call along x so that no piece is expected to take longer than the budget. */
function cut(gpu: Gpu, call: Call): { call: Call; first: number; x: number }[] {
  const total = call.grid[0];
  const byTime = Math.ceil(call.flops / (Math.max(SLOWEST, pace(gpu)) * BUDGET_SECONDS));
  const size = Math.max(1, Math.min(65535, Math.ceil(total / Math.max(1, byTime))));
  const pieces: { call: Call; first: number; x: number }[] = [];
  for (let first = 0; first < total; first += size) pieces.push({ call, first, x: Math.min(size, total - first) });
  return pieces;
}

/** The text of a variant: what files enable, its constants and its files joined. "a b +2" are the files a and b copied: what they declare has _2 at the end of its name, and their
 *  bindings are two further on. */
export function kernelSource(kernel: string, constants: Readonly<Record<string, number>> = {}): string {
  const files = VARIANTS[kernel];
  if (files === undefined) throw new AppError('gpu/kernel', `There is no kernel named ${kernel}.`);
  const sources = files.map((entry) => {
    const [names, copy] = entry.split(' +');
    const text = names.split(' ').map(fileSource).join('\n');
    return copy === undefined ? text : copied(text, Number(copy));
  });
  const directives = sources.flatMap((text) => text.match(DIRECTIVE) ?? []);
  const given = Object.entries(constants).map(([name, value]) => `const ${name}: u32 = ${value}u;`);
  return [...directives, ...given, ...sources.map((text) => text.replaceAll(DIRECTIVE, ''))].join('\n');
}
/** What WGSL wants in front of everything else. */
const DIRECTIVE = /^(?:enable|diagnostic)\b.*;$/gm;
function fileSource(file: string): string {
  const source = SOURCES[`../../shaders/${file}.wgsl`];
  if (source === undefined) throw new AppError('gpu/kernel', `There is no shader file named ${file}.wgsl.`);
  return source;
}
function copied(text: string, copy: number): string {
  const declared = [...text.matchAll(/\bfn (\w+)|\bvar<[^>]*> (\w+)/g)].map(([, fn, variable]) => fn ?? variable);
  return text
    .replace(new RegExp(`\\b(${declared.join('|')})\\b`, 'g'), `$1_${copy}`)
    .replace(/@binding\((\d+)\)/g, (_, binding) => `@binding(${Number(binding) + copy})`);
}

/** A compiled kernel, made once for each set of overrides. The bind group layout is read from the declarations, so that a variant may leave a binding unused. */
export function pipeline(
  gpu: Gpu,
  kernel: string,
  overrides: Readonly<Record<string, number>>,
  constants: Readonly<Record<string, number>> = {},
): Promise<GPUComputePipeline> {
  const key = `${kernel} ${JSON.stringify(constants)} ${JSON.stringify(overrides)}`;
  let made = gpu.pipelines.get(key);
  if (made === undefined) {
    made = compile(gpu, kernel, overrides, constants);
    gpu.pipelines.set(key, made);
  }
  return made;
}

async function compile(
  gpu: Gpu,
  kernel: string,
  overrides: Readonly<Record<string, number>>,
  constants: Readonly<Record<string, number>>,
): Promise<GPUComputePipeline> {
  const code = kernelSource(kernel, constants);
  const entries: GPUBindGroupLayoutEntry[] = [
    ...code.matchAll(/@binding\((\d+)\)\s*var<(uniform|storage)(?:,\s*(read_write|read))?>/g),
  ].map((found) => ({
    binding: Number(found[1]),
    visibility: GPU_COMPUTE,
    buffer: { type: found[2] === 'uniform' ? 'uniform' : found[3] === 'read_write' ? 'storage' : 'read-only-storage' },
  }));
  gpu.device.pushErrorScope('validation');
  const module = gpu.device.createShaderModule({ label: kernel, code });
  const layout = gpu.device.createPipelineLayout({ bindGroupLayouts: [gpu.device.createBindGroupLayout({ label: kernel, entries })] });
  const pending = gpu.device
    .createComputePipelineAsync({ label: kernel, layout, compute: { module, entryPoint: 'main', constants: { ...overrides } } })
    .catch((cause: unknown) => cause);
  const [scoped, made] = await Promise.all([gpu.device.popErrorScope(), pending]);
  if (scoped === null && !(made instanceof Error) && made !== null && typeof made === 'object') return made as GPUComputePipeline;
  const messages = (await module.getCompilationInfo()).messages.map((m) => `${kernel}:${m.lineNum}: ${m.message}`);
  const why = messages.length > 0 ? messages.join('\n') : (scoped?.message ?? String(made));
  throw new AppError('gpu/kernel', `The GPU program ${kernel} could not be compiled on this device.`, { why, cause: made });
}

// The numbers of the WebGPU specification, so that the engine does not depend on globals that a Node program must install first.
const GPU_MAP_READ = 0x0001;
const GPU_COPY_SRC = 0x0004;
const GPU_COPY_DST = 0x0008;
const GPU_UNIFORM = 0x0040;
const GPU_STORAGE = 0x0080;
const GPU_MAP_MODE_READ = 0x0001;
const GPU_COMPUTE = 0x4;
