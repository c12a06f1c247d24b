// What answers, in words.
import type { Runtime } from '../experiments/types.ts';
import type { ModelRecord } from '../storage/types.ts';

export function runtimeName(runtime: Runtime): string {
  return runtime === 'webllm' ? 'web-llm' : 'our engine';
}
export const RUNTIMES: readonly { readonly value: Runtime; readonly label: string }[] = [
  { value: 'engine', label: runtimeName('engine') },
  { value: 'webllm', label: runtimeName('webllm') },
];

/** All that a model takes on this device, its copy for web-llm included. */
export function keptBytes({ bytes, webllm }: ModelRecord): number {
  return bytes + (webllm?.bytes ?? 0);
}
