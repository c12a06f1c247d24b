// LoRA inside web-llm, unmerged: after each kernel that binds a targeted weight, y += strength * scale * B (A x) is appended in the same pass, two dispatches an
// adapter. Which buffers are x and y is read in the kernel's text. Hu et al. 2021, arXiv:2106.09685.
import downSource from '../../shaders/webllm_lora_down.wgsl?raw';
import upSource from '../../shaders/webllm_lora_up.wgsl?raw';
import { AppError } from '../lib/error.ts';
import type { WebllmAdapter, WebllmInUse } from './types.ts';
import type { Appended, BoundBuffer, TappedDevice, TappedKernel } from './webllm-lora-device.ts';
import { type Joined, joinTargets, type Target } from './webllm-lora-targets.ts';
import type { KernelReader, KernelReading } from './wgsl-product.ts';

/** How often each targeted weight was bound by a kernel of one pass. */
export interface PassHits {
  /** Targets with factors in use. */
  readonly expected: number;
  /** Of all kernels in the pass. */
  readonly hits: number;
  /** Each target exactly once. */
  readonly exact: boolean;
}
export interface WebllmAdapters {
  readonly targets: readonly Target[];
  /** @returns bytes on the GPU. @throws 'webllm/adapter-base', 'webllm/adapter-module', 'webllm/adapter-shape' */
  add(id: string, adapter: WebllmAdapter): number;
  /** @throws 'webllm/adapter-unknown', 'webllm/adapter-strength' */
  use(list: readonly WebllmInUse[]): void;
  /** What `use` was last given. */
  readonly inUse: readonly WebllmInUse[];
  remove(id: string): void;
  /** Before a pass of `rows` tokens is encoded. */
  begin(rows: number): void;
  /** After it: the pass is good for nothing where this throws. @throws 'webllm/unknown-kernel', 'webllm/adapter-hits' */
  end(): void;
  /** While set, it judges the hits of each pass, and a wrong count is no error. */
  onPass: ((hits: PassHits) => void) | undefined;
}

/** One adapter on one target. */
interface Site {
  readonly ranks: number;
  readonly a: GPUBufferBinding;
  readonly b: GPUBufferBinding;
  readonly params: GPUBufferBinding;
  readonly down: GPUComputePipeline;
  /** Bind groups by the buffers of x and y, of which a library has a few. */
  readonly groups: Map<GPUBuffer, Map<GPUBuffer, readonly [GPUBindGroup, GPUBindGroup]>>;
}
interface Uploaded {
  readonly sites: ReadonlyMap<Target, Site>;
  readonly factors: GPUBuffer;
  readonly params: GPUBuffer;
  /** What is written into `params`; the strength of each site lies at STRENGTH. */
  readonly numbers: DataView<ArrayBuffer>;
  readonly ranks: number;
  readonly bytes: number;
}

// Of GPUBufferUsage, which not all who check this file know by name.
const GPU_COPY_DST = 0x0008;
const GPU_STORAGE = 0x0080;
/** Bindings begin at multiples of this. */
const ALIGN = 256;
/** Bytes into a site's parameters. */
const STRENGTH = 12;
const MAX_STRENGTH = 1.5;
/** Threads a workgroup of the kernels that add. */
const WG = 64;
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGN) * ALIGN;

/** @param weights the buffers of each target's parameters; @param rows most tokens of a pass; @param base id of the loaded model; @param read finds x and y in
 *  a kernel's text */
export function webllmAdapters(
  tapped: TappedDevice,
  targets: readonly Target[],
  weights: ReadonlyMap<Target, readonly GPUBuffer[]>,
  { rows: mostRows, base, read }: { readonly rows: number; readonly base: string; readonly read: KernelReader },
): WebllmAdapters {
  const { device, software } = tapped;
  const targetAt = new Map([...weights].flatMap(([target, buffers]) => buffers.map((buffer) => [buffer, target] as const)));
  const uploaded = new Map<string, Uploaded>();
  const readings = new Map<TappedKernel, KernelReading>();
  const pipelines = new Map<string, GPUComputePipeline>();
  let inUse: readonly WebllmInUse[] = [];
  let active: readonly Uploaded[] = [];
  let scratch: GPUBuffer | undefined;
  let rows = 0;
  let problem: AppError | undefined;
  const hits = new Map<Target, number>();

  const pipeline = (label: string, code: string, constants: Readonly<Record<string, number>>): GPUComputePipeline => {
    const key = `${label} ${JSON.stringify(constants)}`;
    const made =
      pipelines.get(key) ??
      device.createComputePipeline({
        label,
        layout: 'auto',
        compute: { module: device.createShaderModule({ label, code }), entryPoint: 'main', constants },
      });
    pipelines.set(key, made);
    return made;
  };
  // On a software GPU a barrier costs more than the sum of a whole row.
  const lanes = software ? { WG: 8, LANES: 1 } : { WG: 64, LANES: 64 };
  const downOf = (K: number): GPUComputePipeline => pipeline('webllm_lora_down', downSource, { ...lanes, K });
  const up = (): GPUComputePipeline => pipeline('webllm_lora_up', upSource, { WG });

  /** Room for A x of the widest site in use. */
  const roomFor = (ranks: number): void => {
    const bytes = mostRows * ranks * 4;
    if (scratch !== undefined && scratch.size >= bytes) return;
    scratch?.destroy();
    scratch = device.createBuffer({ label: 'LoRA: A x', size: bytes, usage: GPU_STORAGE });
    for (const { sites } of uploaded.values()) for (const site of sites.values()) site.groups.clear();
  };

  function groupsOf(site: Site, x: BoundBuffer, y: BoundBuffer, h: GPUBuffer): readonly [GPUBindGroup, GPUBindGroup] {
    const known = site.groups.get(x.buffer)?.get(y.buffer);
    if (known !== undefined) return known;
    const group = (of: GPUComputePipeline, resources: readonly GPUBufferBinding[]): GPUBindGroup =>
      device.createBindGroup({
        layout: of.getBindGroupLayout(0),
        entries: resources.map((resource, binding) => ({ binding, resource })),
      });
    const hidden = { buffer: h };
    const made = [group(site.down, [hidden, whole(x), site.a, site.params]), group(up(), [whole(y), hidden, site.b, site.params])] as const;
    const ofX = site.groups.get(x.buffer) ?? new Map<GPUBuffer, readonly [GPUBindGroup, GPUBindGroup]>();
    site.groups.set(x.buffer, ofX.set(y.buffer, made));
    return made;
  }

  /** What follows a kernel that binds `target`. */
  function append(kernel: TappedKernel, bound: readonly BoundBuffer[], target: Target): readonly Appended[] {
    const known = readings.get(kernel);
    const reading = known ?? read(kernel.code, kernel.entry, weightBindings(bound, target));
    readings.set(kernel, reading);
    if (!reading.known) {
      problem ??= unknownKernel(kernel.entry, reading.why);
      return [];
    }
    const x = bound.find(({ binding }) => binding === reading.input);
    const y = bound.find(({ binding }) => binding === reading.output);
    if (
      x === undefined ||
      y === undefined ||
      scratch === undefined ||
      bytesOf(x) < rows * target.inputs * 4 ||
      bytesOf(y) < rows * target.outputs * 4
    ) {
      problem ??= unknownKernel(kernel.entry, `its buffers are smaller than ${rows} rows of ${target.name}`);
      return [];
    }
    const appended: Appended[] = [];
    for (const { sites } of active) {
      const site = sites.get(target);
      if (site === undefined) continue;
      const [down, added] = groupsOf(site, x, y, scratch);
      appended.push({ pipeline: site.down, group: down, x: Math.ceil((site.ranks * lanes.LANES) / lanes.WG), y: rows });
      appended.push({ pipeline: up(), group: added, x: Math.ceil(target.outputs / WG), y: rows });
    }
    return appended;
  }
  const weightBindings = (bound: readonly BoundBuffer[], target: Target): readonly number[] =>
    bound.filter(({ buffer }) => targetAt.get(buffer) === target).map(({ binding }) => binding);
  const whole = ({ buffer, offset, size }: BoundBuffer): GPUBufferBinding => ({ buffer, offset, ...(size === undefined ? {} : { size }) });
  const bytesOf = ({ buffer, offset, size }: BoundBuffer): number => size ?? buffer.size - offset;

  function listen(kernel: TappedKernel, bound: readonly BoundBuffer[]): readonly Appended[] {
    for (const { buffer } of bound) {
      const target = targetAt.get(buffer);
      if (target === undefined) continue;
      if (!active.some(({ sites }) => sites.has(target))) return [];
      hits.set(target, (hits.get(target) ?? 0) + 1);
      return append(kernel, bound, target);
    }
    return [];
  }

  function apply(list: readonly WebllmInUse[]): void {
    active = [];
    for (const { id, strength } of list) {
      const adapter = uploaded.get(id);
      // At strength 0 it is the model as it came, to the bit.
      if (adapter === undefined || strength === 0) continue;
      for (let at = STRENGTH; at < adapter.numbers.byteLength; at += ALIGN) adapter.numbers.setFloat32(at, strength, true);
      device.queue.writeBuffer(adapter.params, 0, adapter.numbers.buffer);
      active = [...active, adapter];
    }
    if (active.length > 0) roomFor(Math.max(...active.map(({ ranks }) => ranks)));
    inUse = list;
    tapped.listener = active.length === 0 ? undefined : listen;
  }

  function remove(id: string): void {
    const adapter = uploaded.get(id);
    if (adapter === undefined) return;
    uploaded.delete(id);
    apply(inUse.filter((used) => used.id !== id));
    adapter.factors.destroy();
    adapter.params.destroy();
    if (uploaded.size > 0) return;
    scratch?.destroy();
    scratch = undefined;
  }

  const adapters: WebllmAdapters = {
    targets,
    get inUse() {
      return inUse;
    },
    add(id, adapter) {
      const joined = joinTargets(adapter, base, targets);
      const was = inUse;
      remove(id);
      const made = upload(device, joined, downOf);
      uploaded.set(id, made);
      apply(was);
      return made.bytes;
    },
    use(list) {
      for (const { id, strength } of list) {
        if (!uploaded.has(id))
          throw new AppError('webllm/adapter-unknown', 'This adapter is not in web-llm.', { fix: 'Add it there first.', facts: { id } });
        if (!(strength >= 0 && strength <= MAX_STRENGTH))
          throw new AppError('webllm/adapter-strength', `The strength ${strength} is not between 0 and ${MAX_STRENGTH}.`, {
            fix: `Choose a strength from 0 to ${MAX_STRENGTH}.`,
            facts: { strength },
          });
      }
      if (new Set(list.map(({ id }) => id)).size < list.length)
        throw new AppError('webllm/adapter-twice', 'One adapter cannot be used twice at once.', { fix: 'Name each adapter once.' });
      apply(list);
    },
    remove,
    begin(count) {
      rows = count;
      hits.clear();
      problem = undefined;
    },
    end() {
      if (problem !== undefined) throw problem;
      const expected = targets.filter((target) => active.some(({ sites }) => sites.has(target)));
      const sum = [...hits.values()].reduce((a, b) => a + b, 0);
      const exact = expected.every((target) => hits.get(target) === 1);
      if (adapters.onPass !== undefined) adapters.onPass({ expected: expected.length, hits: sum, exact });
      else if (!exact) throw wrongHits(expected.length, sum);
    },
    onPass: undefined,
  };
  return adapters;
}

function wrongHits(expected: number, hits: number): AppError {
  return new AppError('webllm/adapter-hits', `The adapter joined ${hits} of web-llm's kernels in a pass; it changes ${expected} weights.`, {
    why: 'Each weight is multiplied once in a pass, so this answer is not that of the adapter.',
    fix: 'Use the adapter in our engine.',
    facts: { expected, hits },
  });
}

function unknownKernel(kernel: string, why: string): AppError {
  return new AppError('webllm/unknown-kernel', `Adapters cannot join this model library: its kernel ${kernel} is not known.`, {
    why: `Read in its text: ${why}.`,
    fix: 'Use the adapter in our engine, or build the library anew (npm run webllm:library).',
    facts: { kernel, why },
  });
}

/** Factors and parameters of all sites, in one buffer each. */
function upload(device: GPUDevice, joined: readonly Joined[], downOf: (inputs: number) => GPUComputePipeline): Uploaded {
  const sized = joined.map(({ target, parts }) => {
    const ranks = parts.reduce((sum, { factors }) => sum + factors.rank, 0);
    return { target, parts, ranks, a: ranks * target.inputs, b: parts.reduce((sum, { factors }) => sum + factors.b.length, 0) };
  });
  const bytes = sized.reduce((sum, { a, b }) => sum + aligned(a * 4) + aligned(b * 4), 0);
  const usage = GPU_STORAGE | GPU_COPY_DST;
  const factors = device.createBuffer({ label: 'LoRA: A and B', size: bytes, usage, mappedAtCreation: true });
  const params = device.createBuffer({ label: 'LoRA: parameters', size: sized.length * ALIGN, usage });
  const numbers = new DataView(new ArrayBuffer(sized.length * ALIGN));
  const mapped = new Float32Array(factors.getMappedRange());
  const sites = new Map<Target, Site>();
  let at = 0;
  for (const [n, { target, parts, ranks, a, b }] of sized.entries()) {
    const aOffset = at;
    const bOffset = at + aligned(a * 4);
    at = bOffset + aligned(b * 4);
    const from = n * ALIGN;
    numbers.setUint32(from, ranks, true);
    numbers.setUint32(from + 4, target.outputs, true);
    numbers.setUint32(from + 8, parts.length, true);
    let first = 0;
    let bAt = 0;
    for (const [i, { block, factors: own }] of parts.entries()) {
      mapped.set(own.a, aOffset / 4 + first * target.inputs);
      mapped.set(own.b, bOffset / 4 + bAt);
      const place = from + 16 + i * 24;
      for (const [field, value] of [block.begin, block.end, first, own.rank, bAt].entries())
        numbers.setUint32(place + field * 4, value, true);
      numbers.setFloat32(place + 20, own.scale, true);
      first += own.rank;
      bAt += own.b.length;
    }
    sites.set(target, {
      ranks,
      a: { buffer: factors, offset: aOffset, size: a * 4 },
      b: { buffer: factors, offset: bOffset, size: b * 4 },
      params: { buffer: params, offset: from, size: ALIGN },
      down: downOf(target.inputs),
      groups: new Map(),
    });
  }
  factors.unmap();
  return { sites, factors, params, numbers, ranks: Math.max(...sized.map(({ ranks }) => ranks)), bytes: bytes + numbers.byteLength };
}
