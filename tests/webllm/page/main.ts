// web-llm's client without any screen, under the site's own policy.

import { leaveWebllm, loadIntoWebllm, webllm } from '../../../workers/engine/webllm-host.ts';
import { type Packed, unpack } from '../unpack.ts';

const page = {
  leaveWebllm,
  load: async (packed: Packed) => loadIntoWebllm(await unpack(packed), () => undefined, new AbortController().signal),
  async greedy(prompt: readonly number[], maxTokens: number, stops: readonly number[] = []) {
    const ids: number[] = [];
    const options = { temperature: 0, topK: 0, topP: 1, seed: 0, maxTokens, stops };
    const end = await webllm().generate(Uint32Array.from(prompt), options, (id) => ids.push(id), new AbortController().signal);
    return { ids, end };
  },
  /** Stops after `after` tokens. */
  async stopped(prompt: readonly number[], after: number) {
    const ids: number[] = [];
    const controller = new AbortController();
    const options = { temperature: 0, topK: 0, topP: 1, seed: 0, maxTokens: 64, stops: [] };
    if (after === 0) controller.abort();
    const heard = (id: number): void => {
      ids.push(id);
      if (ids.length === after) controller.abort();
    };
    return { end: await webllm().generate(Uint32Array.from(prompt), options, heard, controller.signal), count: ids.length };
  },
  logits: async (tokens: readonly number[]) => Array.from(await webllm().logits(Uint32Array.from(tokens), new AbortController().signal)),
  lastLogits: async (tokens: readonly number[]) =>
    Array.from(await webllm().lastLogits(Uint32Array.from(tokens), new AbortController().signal)),
};
declare global {
  var webllmPage: typeof page;
}
globalThis.webllmPage = page;
