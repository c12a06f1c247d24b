// web-llm's client without any screen, under the site's own policy.
import { leaveWebllm, loadIntoWebllm, webllm } from '../../../src/client/webllm-client.ts';
import type { WebllmFiles } from '../../../src/runtimes/types.ts';

const bytes = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
async function opened(base64: string): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
export interface Packed {
  readonly id: string;
  readonly chatConfig: string;
  readonly index: string;
  readonly tokenizer: string;
  readonly shards: readonly { readonly name: string; readonly base64: string }[];
  readonly libraryGzip: string;
}
async function unpack({ id, chatConfig, index, tokenizer, shards, libraryGzip }: Packed): Promise<WebllmFiles> {
  return {
    id,
    chatConfig: bytes(chatConfig),
    index: bytes(index),
    tokenizer: bytes(tokenizer),
    shards: shards.map(({ name, base64 }) => ({ name, file: new Blob([bytes(base64)]) })),
    library: await opened(libraryGzip),
  };
}

const page = {
  webllm,
  leaveWebllm,
  load: async (packed: Packed, signal = new AbortController().signal) => loadIntoWebllm(await unpack(packed), () => undefined, signal),
  /** The code of a load that must not succeed. */
  refused: async (packed: Packed) => {
    try {
      await loadIntoWebllm(await unpack(packed), () => undefined, new AbortController().signal);
      return 'loaded';
    } catch (error) {
      console.log(error instanceof Error && 'why' in error ? String(error.why) : '');
      return error instanceof Error && 'code' in error ? String(error.code) : String(error);
    }
  },
  async greedy(prompt: readonly number[], maxTokens: number, stops: readonly number[] = []) {
    const ids: number[] = [];
    const options = { temperature: 0, topK: 0, topP: 1, seed: 0, maxTokens, stops };
    const end = await webllm()
      .generate(Uint32Array.from(prompt), options, (id) => ids.push(id), new AbortController().signal)
      .catch((error: unknown) => {
        console.log(error instanceof Error && 'why' in error ? String(error.why) : '');
        throw error;
      });
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
globalThis.addEventListener('unhandledrejection', ({ reason }) => console.log(String(reason)));
