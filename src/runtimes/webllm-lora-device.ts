// Sees what TVM's runtime does with its GPU, and may append dispatches of ours to its passes. web-llm opens its device itself and has no way in, so methods of
// that one device are replaced as it comes. Nothing is recorded and no pass is touched while nobody listens, but for the kernels' texts, one of which is mended.

import { mended } from './wgsl-mend.ts';

/** A kernel of the library: its module's text and the name of its function. */
export interface TappedKernel {
  readonly code: string;
  readonly entry: string;
}
/** What lies at one binding of a dispatch. */
export interface BoundBuffer {
  readonly binding: number;
  readonly buffer: GPUBuffer;
  readonly offset: number;
  /** Absent: to its end. */
  readonly size?: number | undefined;
}
/** A dispatch of ours. */
export interface Appended {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly x: number;
  readonly y: number;
}
/** Told of each dispatch; what it returns follows in the same pass. */
export type DispatchListener = (kernel: TappedKernel, bound: readonly BoundBuffer[]) => readonly Appended[];

export interface TappedDevice {
  readonly device: GPUDevice;
  /** "vendor architecture device description", as far as the browser tells. */
  readonly name: string;
  /** The GPU is a program on the CPU. */
  readonly software: boolean;
  /** While set, all that is encoded from now on is told to it. */
  listener: DispatchListener | undefined;
}

/** Replaces what has to be seen of a device that was just made. */
export function tapDevice(device: GPUDevice, info: GPUAdapterInfo): TappedDevice {
  const { vendor, architecture, device: model, description } = info;
  const words = [vendor, architecture, model, description].filter((word) => word !== '');
  const software = /swiftshader|llvmpipe|lavapipe|microsoft basic render/i.test(words.join(' '));
  const tapped: TappedDevice = { device, name: words.join(' '), software, listener: undefined };
  const modules = new WeakMap<GPUShaderModule, string>();
  const kernels = new WeakMap<GPUComputePipeline, TappedKernel>();
  const groups = new WeakMap<GPUBindGroup, readonly BoundBuffer[]>();

  const createShaderModule = device.createShaderModule.bind(device);
  device.createShaderModule = (descriptor) => {
    const code = mended(descriptor.code);
    const module = createShaderModule({ ...descriptor, code });
    modules.set(module, code);
    return module;
  };
  const kernelOf = ({ compute }: GPUComputePipelineDescriptor): TappedKernel => ({
    code: modules.get(compute.module) ?? '',
    entry: compute.entryPoint ?? '',
  });
  const createComputePipeline = device.createComputePipeline.bind(device);
  device.createComputePipeline = (descriptor) => {
    const pipeline = createComputePipeline(descriptor);
    kernels.set(pipeline, kernelOf(descriptor));
    return pipeline;
  };
  const createComputePipelineAsync = device.createComputePipelineAsync.bind(device);
  device.createComputePipelineAsync = async (descriptor) => {
    const pipeline = await createComputePipelineAsync(descriptor);
    kernels.set(pipeline, kernelOf(descriptor));
    return pipeline;
  };
  const createBindGroup = device.createBindGroup.bind(device);
  device.createBindGroup = (descriptor) => {
    const group = createBindGroup(descriptor);
    if (tapped.listener !== undefined) groups.set(group, [...descriptor.entries].flatMap(boundBuffer));
    return group;
  };
  const createCommandEncoder = device.createCommandEncoder.bind(device);
  device.createCommandEncoder = (descriptor) => {
    const encoder = createCommandEncoder(descriptor);
    const beginComputePass = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (of) => {
      const pass = beginComputePass(of);
      if (tapped.listener !== undefined) tapPass(pass, tapped, kernels, groups);
      return pass;
    };
    return encoder;
  };
  return tapped;
}

function boundBuffer({ binding, resource }: GPUBindGroupEntry): readonly BoundBuffer[] {
  if (resource instanceof GPUBuffer) return [{ binding, buffer: resource, offset: 0 }];
  if (!('buffer' in resource)) return [];
  return [{ binding, buffer: resource.buffer, offset: resource.offset ?? 0, size: resource.size }];
}

function tapPass(
  pass: GPUComputePassEncoder,
  tapped: TappedDevice,
  kernels: WeakMap<GPUComputePipeline, TappedKernel>,
  groups: WeakMap<GPUBindGroup, readonly BoundBuffer[]>,
): void {
  const setPipeline = pass.setPipeline.bind(pass);
  const setBindGroup = pass.setBindGroup.bind(pass);
  const dispatchWorkgroups = pass.dispatchWorkgroups.bind(pass);
  let pipeline: GPUComputePipeline | undefined;
  let group: GPUBindGroup | null | undefined;
  pass.setPipeline = (given) => {
    pipeline = given;
    setPipeline(given);
  };
  // TVM's kernels have one group and no dynamic offsets.
  Object.defineProperty(pass, 'setBindGroup', {
    value: (index: number, given: GPUBindGroup | null) => {
      if (index === 0) group = given;
      setBindGroup(index, given);
    },
  });
  pass.dispatchWorkgroups = (x, y, z) => {
    dispatchWorkgroups(x, y, z);
    const kernel = pipeline === undefined ? undefined : kernels.get(pipeline);
    const bound = group === undefined || group === null ? undefined : groups.get(group);
    if (kernel === undefined || bound === undefined || pipeline === undefined || group === undefined) return;
    const appended = tapped.listener?.(kernel, bound) ?? [];
    for (const { pipeline: ours, group: our, x: width, y: height } of appended) {
      setPipeline(ours);
      setBindGroup(0, our);
      dispatchWorkgroups(width, height);
    }
    if (appended.length === 0) return;
    // A pass of one kernel ends here; another one would find its own state.
    setPipeline(pipeline);
    setBindGroup(0, group);
  };
}
