// A WebGPU device for tests: Dawn in Node, on SwiftShader where there is no GPU. `LD_LIBRARY_PATH` and `VK_ICD_FILENAMES` must be set before Node
// starts; `npm test` and `node src/cli/vitest.mjs` do that.
import { dawn } from '../../src/cli/node/dawn.ts';
import { type Gpu, openGpu } from '../../src/engine/gpu.ts';

export { dawn };

let opened: Promise<Gpu> | undefined;
/** One device a test file. */
export function testGpu(): Promise<Gpu> {
  opened ??= openGpu(dawn());
  return opened;
}
