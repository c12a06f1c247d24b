// Where adapters take hold of a loaded model: the buffers of its weights, by the order of the library's parameters.
import { AppError } from '../lib/error.ts';
import { type WebllmAdapters, webllmAdapters } from './webllm-lora.ts';
import type { TappedDevice } from './webllm-lora-device.ts';
import { type LibraryParameter, type Target, targetsOf } from './webllm-lora-targets.ts';
import type { KernelReader } from './wgsl-product.ts';

/** What we use of a loaded pipeline of web-llm. */
export interface LoadedPipeline {
  readonly prefillChunkSize: number;
  readonly params: { get(index: number): { getDataPtr(): number; readonly byteOffset: number } };
  readonly tvm: {
    withNewScope<T>(action: () => T): T;
    readonly lib: { readonly webGPUContext: { gpuBufferFromPtr(pointer: number): GPUBuffer } };
  };
}

/** @throws 'webllm/failed' where web-llm keeps its weights in another way than 0.2.86 */
export function attachAdapters(
  tapped: TappedDevice | undefined,
  { prefillChunkSize, params, tvm }: LoadedPipeline,
  parameters: readonly LibraryParameter[],
  base: string,
  read: KernelReader,
): WebllmAdapters {
  if (tapped === undefined) throw otherInside('it asked for no GPU while it loaded');
  const targets = targetsOf(parameters);
  const bufferOf = (index: number): GPUBuffer => {
    const tensor = params.get(index);
    if (tensor.byteOffset !== 0) throw otherInside(`${parameters[index].name} does not begin where its buffer begins`);
    return tvm.lib.webGPUContext.gpuBufferFromPtr(tensor.getDataPtr());
  };
  const weights = tvm.withNewScope(
    () => new Map(targets.map((target): [Target, GPUBuffer[]] => [target, target.parameters.map(bufferOf)])),
  );
  return webllmAdapters(tapped, targets, weights, { rows: prefillChunkSize, base, read });
}

function otherInside(why: string): AppError {
  return new AppError('webllm/failed', 'web-llm is built in another way inside than version 0.2.86.', {
    why: `Adapters join it there: ${why}.`,
    fix: 'Run the model in our engine.',
  });
}
