// Times each kernel by timestamp-query: while it runs, every dispatch has a pass of its own, so the whole is slower than without.
import type { Gpu } from '../../engine/gpu.ts';

export interface KernelTime {
  readonly kernel: string;
  readonly calls: number;
  readonly ms: number;
  /** Of all kernels' time, 0 to 1. */
  readonly share: number;
  /** FLOPs as the plan counts them, a second: exact for linear_*, an upper bound for others, whose exp, barriers and scattered reads are planned for as 4. */
  readonly plannedFlopsPerSecond: number;
}

/** Dispatches a query set, two timestamps each: WebGPU allows 4096 queries. */
const DISPATCHES = 2048;
const [MAP_READ, COPY_SRC, COPY_DST, QUERY_RESOLVE] = [0x0001, 0x0004, 0x0008, 0x0200];

/** Time by kernel of what `work` runs, longest first; undefined where the device has no timestamp-query. `work` must run the same dispatches every time:
 *  each one's time is its best of `runs`, since other programs may be at work. */
export async function profileKernels(gpu: Gpu, runs: number, work: () => Promise<unknown>): Promise<KernelTime[] | undefined> {
  if (!gpu.device.features.has('timestamp-query')) return undefined;
  const times = await dispatchTimes(gpu, work);
  for (let run = 1; run < runs; run++) {
    const again = await dispatchTimes(gpu, work);
    if (again.length !== times.length) throw new Error(`${again.length} dispatches were made, and ${times.length} the time before.`);
    times.forEach((time, i) => {
      time.ms = Math.min(time.ms, again[i].ms);
    });
  }
  const total = times.reduce((sum, { ms }) => sum + ms, 0);
  const kernels = [...new Set(times.map(({ kernel }) => kernel))].map((kernel) => {
    const own = times.filter((time) => time.kernel === kernel);
    const [ms, flops] = [own.reduce((sum, one) => sum + one.ms, 0), own.reduce((sum, one) => sum + one.flops, 0)];
    return { kernel, calls: own.length, ms, share: ms / total, plannedFlopsPerSecond: (flops / ms) * 1000 };
  });
  return kernels.sort((a, b) => b.ms - a.ms);
}

interface DispatchTime {
  readonly kernel: string;
  readonly flops: number;
  ms: number;
}
async function dispatchTimes(gpu: Gpu, work: () => Promise<unknown>): Promise<DispatchTime[]> {
  const { device } = gpu;
  const sets: GPUQuerySet[] = [];
  const made: { readonly kernel: string; readonly flops: number }[] = [];
  gpu.profile = (kernel, flops) => {
    const i = made.push({ kernel, flops }) - 1;
    if (i % DISPATCHES === 0) sets.push(device.createQuerySet({ type: 'timestamp', count: 2 * DISPATCHES }));
    const at = 2 * (i % DISPATCHES);
    return { querySet: sets[sets.length - 1], beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
  };
  try {
    await work();
  } finally {
    gpu.profile = undefined;
  }
  const nanoseconds: bigint[] = [];
  for (const set of sets) nanoseconds.push(...(await readTimes(device, set)));
  return made.map((one, i) => ({ ...one, ms: Number(nanoseconds[2 * i + 1] - nanoseconds[2 * i]) / 1e6 }));
}

async function readTimes(device: GPUDevice, set: GPUQuerySet): Promise<BigUint64Array> {
  const size = set.count * 8;
  const resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
  const staging = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.resolveQuerySet(set, 0, set.count, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(MAP_READ);
  const times = new BigUint64Array(staging.getMappedRange().slice(0));
  for (const buffer of [resolved, staging]) buffer.destroy();
  set.destroy();
  return times;
}
