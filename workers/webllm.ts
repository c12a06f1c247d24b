// The worker in which web-llm runs. It is started when someone wants web-llm, and ended when it has gone wrong.
import { sampleToken } from '../src/engine/sampling.ts';
import { AppError } from '../src/lib/error.ts';
import { serve } from '../src/rpc/rpc.ts';
import { closeNetwork } from '../src/rpc/start-worker.ts';
import type { WebllmApi } from '../src/runtimes/types.ts';
import { loadWebllm, type WebllmRuntime } from '../src/runtimes/webllm.ts';

let running: WebllmRuntime | undefined;
function here(): WebllmRuntime {
  if (running === undefined)
    throw new AppError('webllm/not-loaded', 'No model is loaded in web-llm.', { fix: 'Load a model there first.' });
  return running;
}
function notYet(): never {
  here();
  throw new AppError('webllm/adapter-not-yet', 'Adapters do not run inside web-llm yet.', { fix: 'Run the adapter in our engine.' });
}
const api: WebllmApi = {
  async load(files, onProgress, signal) {
    await running?.unload();
    running = undefined;
    running = await loadWebllm(files, onProgress, signal);
    return running.loaded;
  },
  generate: (prompt, options, onToken, signal) =>
    here().generate(prompt, options, (logits, { seed }, drawn) => sampleToken(logits, options, seed, drawn), onToken, signal),
  logits: (tokens, signal) => here().logits(tokens, signal),
  lastLogits: (tokens, signal) => here().lastLogits(tokens, signal),
  addAdapter: async () => notYet(),
  useAdapters: async () => notYet(),
  removeAdapter: async () => notYet(),
  selfTestPlan: async () => notYet(),
  selfTest: async () => notYet(),
  selfTestKey: async () => notYet(),
  async lost() {
    throw await here().lost;
  },
  async unload() {
    await running?.unload();
    running = undefined;
  },
};
serve<WebllmApi>(api);
// After the modules have run. web-llm itself comes later, by import, and finds no way out.
queueMicrotask(closeNetwork);
