// What answers, in words.
import type { Runtime } from '../experiments/types.ts';

export function runtimeName(runtime: Runtime): string {
  return runtime === 'webllm' ? 'web-llm' : 'our engine';
}
export const RUNTIMES: readonly { readonly value: Runtime; readonly label: string }[] = [
  { value: 'engine', label: runtimeName('engine') },
  { value: 'webllm', label: runtimeName('webllm') },
];
