// What web-llm's worker can do: one model at a time, with adapters in its kernels.
import { sampleToken } from '../src/engine/sampling.ts';
import { AppError } from '../src/lib/error.ts';
import type { WebllmApi } from '../src/runtimes/types.ts';
import { loadWebllm, type WebllmRuntime } from '../src/runtimes/webllm.ts';
import { runSelfTest, selfTestKey, selfTestPlan } from '../src/runtimes/webllm-lora-test.ts';
import { type KernelReader, readProduct } from '../src/runtimes/wgsl-product.ts';

interface Running {
  readonly id: string;
  readonly runtime: WebllmRuntime;
  /** SHA-256, in hex. */
  readonly library: string;
}

/** @param read finds input and output in a kernel's text */
export function webllmApi(read: KernelReader = readProduct): WebllmApi {
  let running: Running | undefined;
  const need = (): Running => {
    if (running === undefined)
      throw new AppError('webllm/not-loaded', 'No model is loaded in web-llm.', { fix: 'Load a model there first.' });
    return running;
  };
  const here = (): WebllmRuntime => need().runtime;
  const planOf = ({ id, runtime }: Running) => selfTestPlan(runtime.adapters.targets, runtime.loaded, id);
  return {
    async load(files, onProgress, signal) {
      await running?.runtime.unload();
      running = undefined;
      const library = await sha256(files.library);
      running = { id: files.id, library, runtime: await loadWebllm(files, onProgress, signal, read) };
      return running.runtime.loaded;
    },
    generate: async (prompt, options, onToken, signal) =>
      here().generate(prompt, options, (logits, { seed }, drawn) => sampleToken(logits, options, seed, drawn), onToken, signal),
    logits: async (tokens, signal) => here().logits(tokens, signal),
    lastLogits: async (tokens, signal) => here().lastLogits(tokens, signal),
    async addAdapter(id, adapter) {
      const { adapters, inTurn } = here();
      return inTurn('taking an adapter', () => adapters.add(id, adapter));
    },
    async useAdapters(list) {
      const { adapters, inTurn } = here();
      return inTurn('switching adapters', () => adapters.use(list));
    },
    async removeAdapter(id) {
      const { adapters, inTurn } = here();
      return inTurn('removing an adapter', () => adapters.remove(id));
    },
    selfTestPlan: async () => planOf(need()),
    selfTest: async (logits, signal) => runSelfTest(here(), planOf(need()), logits, signal),
    selfTestKey: async () => selfTestKey(need().library, here().gpuName, navigator.userAgent),
    async lost() {
      throw await here().lost;
    },
    async unload() {
      await running?.runtime.unload();
      running = undefined;
    },
  };
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
