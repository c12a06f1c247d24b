// Counts what a device is asked to do, by wrapping its methods: independent of the engine's own books.

export interface GpuCounts {
  /** Bytes of buffers that are there now, and the most there were. */
  live: number;
  peak: number;
  dispatches: number;
  submits: number;
  /** Bytes of the largest binding so far. */
  largestBinding: number;
}

/** Counts from now on; before any buffer is made. */
export function countGpu(device: GPUDevice): GpuCounts {
  const counts: GpuCounts = { live: 0, peak: 0, dispatches: 0, submits: 0, largestBinding: 0 };
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    let held = descriptor.size;
    counts.live += held;
    counts.peak = Math.max(counts.peak, counts.live);
    buffer.destroy = () => {
      counts.live -= held;
      held = 0;
      destroy();
    };
    return buffer;
  };
  const createBindGroup = device.createBindGroup.bind(device);
  device.createBindGroup = (descriptor) => {
    for (const { resource } of descriptor.entries) {
      if (!('buffer' in resource)) continue;
      const bytes = resource.size ?? resource.buffer.size - (resource.offset ?? 0);
      counts.largestBinding = Math.max(counts.largestBinding, bytes);
    }
    return createBindGroup(descriptor);
  };
  const createCommandEncoder = device.createCommandEncoder.bind(device);
  device.createCommandEncoder = (descriptor) => {
    const encoder = createCommandEncoder(descriptor);
    const beginComputePass = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (pass) => {
      const begun = beginComputePass(pass);
      const dispatchWorkgroups = begun.dispatchWorkgroups.bind(begun);
      begun.dispatchWorkgroups = (x, y, z) => {
        counts.dispatches++;
        dispatchWorkgroups(x, y, z);
      };
      return begun;
    };
    return encoder;
  };
  const submit = device.queue.submit.bind(device.queue);
  device.queue.submit = (buffers) => {
    counts.submits++;
    submit(buffers);
  };
  return counts;
}
