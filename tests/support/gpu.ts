// A WebGPU device for tests: Dawn in Node, on SwiftShader where there is no GPU. `LD_LIBRARY_PATH` and `VK_ICD_FILENAMES` must be set before Node
// starts; `npm test` and `node src/cli/vitest.mjs` do that.
import { create, globals } from 'webgpu';
import { type Gpu, openGpu } from '../../src/engine/gpu.ts';

Object.assign(globalThis, globals);
const holder = globalThis as { dawn?: GPU };

/** The one Dawn instance of this process. It must stay reachable, or Dawn aborts the process when it is collected. */
export function dawn(): GPU {
  holder.dawn ??= create([]);
  return holder.dawn;
}

let opened: Promise<Gpu> | undefined;
/** One device a test file. */
export function testGpu(): Promise<Gpu> {
  opened ??= openGpu(dawn());
  return opened;
}
