// The device, apart from all that works on it: a first visit asks for it, and loads kernels only with its first model.
import { AppError } from '../lib/error.ts';
import type { Call } from './gpu.ts';

export type MemoryKind = 'weights' | 'activations' | 'training';

/** An open device with what the engine needs to know of it. */
export interface Gpu {
  readonly device: GPUDevice;
  /** "vendor architecture device description", as far as the browser tells. */
  readonly name: string;
  /** Threads of this device's largest subgroup; 0 where kernels cannot ask their neighbours for what they have. */
  readonly lanes: number;
  /** Measured by the engine once a model is there; until then a slow guess, which only makes submits smaller. FLOP/s. */
  flopsPerSecond: number;
  /** FLOP/s of the last long submits as plans count them, and when the last of them ended (ms): `runPlans` sizes the next ones by them. */
  readonly paces: number[];
  idleSince: number;
  /** Bytes of live buffers by kind. */
  readonly memory: Record<MemoryKind, number>;
  readonly pipelines: Map<string, Promise<GPUComputePipeline>>;
  /** Resolves when the device is lost, with what the browser said. */
  readonly lost: Promise<string>;
  isLost: boolean;
  /** Another kernel for a call, where this device was found to prefer one: see tuning.ts. */
  rewrite?: ((call: Call) => Call) | undefined;
  /** Set to time kernels: every dispatch then gets a pass of its own, with the timestamps that this hands out for a kernel's name and its FLOPs. */
  profile?: ((kernel: string, flops: number) => GPUComputePassTimestampWrites) | undefined;
  /** Told of every submit of plans: the seconds it was planned for, and its dispatches. */
  onSubmit?: ((seconds: number, dispatches: number) => void) | undefined;
}

/** @throws 'gpu/unavailable' where there is no adapter or no device */
export async function openGpu(api: GPU | undefined): Promise<Gpu> {
  const missing = (why: string): AppError =>
    new AppError('gpu/unavailable', 'This browser gives pages no access to the GPU.', {
      why,
      fix: 'Use Chrome or Edge 113 or newer, Safari 26, or Firefox 141 or newer on Windows (145 on a Mac), with hardware acceleration switched on.',
    });
  if (api === undefined) throw missing('It does not offer WebGPU.');
  const adapter = await api.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null)
    throw missing('It offers WebGPU but no adapter: the graphics driver is blocked, or the GPU crashed and the browser must be restarted.');
  const wanted: readonly GPUFeatureName[] = ['timestamp-query', 'subgroups'];
  const requiredFeatures = wanted.filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({
    requiredFeatures,
    requiredLimits: {
      maxBufferSize: adapter.limits.maxBufferSize,
      maxStorageBufferBindingSize: adapter.limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: Math.min(10, adapter.limits.maxStorageBuffersPerShaderStage), // 8 would do: see calls-decode.ts
    },
  });
  const { vendor, architecture, device: model, description } = adapter.info;
  const gpu: Gpu = {
    device,
    name: [vendor, architecture, model, description].filter((word) => word !== '').join(' '),
    lanes: device.features.has('subgroups') ? (adapter.info.subgroupMaxSize ?? 0) : 0,
    flopsPerSecond: 1e9,
    paces: [],
    idleSince: 0,
    memory: { weights: 0, activations: 0, training: 0 },
    pipelines: new Map(),
    lost: device.lost.then((info) => {
      gpu.isLost = true;
      return info.message;
    }),
    isLost: false,
  };
  return gpu;
}
