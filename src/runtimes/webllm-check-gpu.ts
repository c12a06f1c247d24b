// What web-llm 0.2.86 asks of a GPU (detectGPUDevice), asked before anything is stored: it would find out after the model has been handed over.
import { groups } from '../formats/bytes.ts';
import type { MlcLibrary } from '../formats/mlc-library.ts';
import { AppError } from '../lib/error.ts';

type LimitName = 'maxBufferSize' | 'maxStorageBufferBindingSize' | 'maxComputeWorkgroupStorageSize' | 'maxStorageBuffersPerShaderStage';
/** The least that it goes on with. It asks for 1 GiB of a buffer and of a binding first. */
const LEAST: readonly (readonly [LimitName, number, string])[] = [
  ['maxBufferSize', 2 ** 28, 'bytes in a buffer'],
  ['maxStorageBufferBindingSize', 2 ** 27, 'bytes of a buffer bound to a kernel'],
  ['maxComputeWorkgroupStorageSize', 2 ** 15, 'bytes of workgroup memory'],
  ['maxStorageBuffersPerShaderStage', 10, 'buffers bound to a kernel'],
];
const ENGINE = 'Run the model in our engine, which keeps within the limits of every GPU.';

/** @throws 'gpu/unavailable', 'webllm/gpu-limits', 'webllm/gpu-feature' */
export async function checkGpu(library: Pick<MlcLibrary['metadata'], 'params' | 'quantization'>): Promise<void> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null || adapter === undefined)
    throw new AppError('gpu/unavailable', 'web-llm found no GPU in this browser.', {
      why: 'WebGPU is switched off or not there. After two crashes of the GPU a browser gives it to no page any more.',
      fix: 'Use a current Chrome, Edge, Firefox or Safari on a device with a GPU, or close all windows of the browser and open it again.',
    });
  const { limits, features } = adapter;
  const lacking = LEAST.filter(([name, least]) => limits[name] < least);
  if (lacking.length > 0)
    throw new AppError(
      'webllm/gpu-limits',
      `This GPU does not have the limits that web-llm asks for: ${lacking.map(([name, least, what]) => `${groups(limits[name])} ${what}, ${groups(least)} are needed`).join('; ')}.`,
      {
        why: 'Web-llm asks for the same limits on every device, and this browser gives fewer on this one.',
        fix: ENGINE,
        facts: Object.fromEntries(
          lacking.flatMap(([name, least]) => [
            [name, limits[name]],
            [`${name} needed`, least],
          ]),
        ),
      },
    );
  if (/f16/.test(library.quantization) && !features.has('shader-f16'))
    throw new AppError(
      'webllm/gpu-feature',
      `The model library computes in 16-bit numbers (${library.quantization}), and this GPU has none.`,
      {
        why: 'The feature shader-f16 is missing.',
        fix: 'Choose the model in 32-bit numbers (q4f32_1 or q0f32), or run it in our engine, which needs no 16-bit numbers.',
        facts: { feature: 'shader-f16' },
      },
    );
  // Where a GPU has less than 1 GiB, it gets the least.
  const granted = limits.maxStorageBufferBindingSize >= 2 ** 30 ? 2 ** 30 : 2 ** 27;
  const largest = library.params
    .map(({ name, shape, dtype }) => ({ name, bytes: tensorBytes(shape, dtype) }))
    .toSorted((a, b) => b.bytes - a.bytes)[0];
  if (largest !== undefined && largest.bytes > granted)
    throw new AppError(
      'webllm/gpu-limits',
      `${largest.name} takes ${groups(largest.bytes)} bytes; web-llm can bind ${groups(granted)} on this GPU.`,
      {
        why: 'Web-llm binds each weight as a whole.',
        fix: 'Choose a smaller model or one of 4 bits, or run the model in our engine, which reads large weights in pieces.',
        facts: { tensor: largest.name, bytes: largest.bytes, maxStorageBufferBindingSize: granted },
      },
    );
}

function tensorBytes(shape: readonly number[], dtype: string): number {
  return shape.reduce((product, dim) => product * dim, /16/.test(dtype) ? 2 : 4);
}
