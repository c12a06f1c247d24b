// web-llm's worker and whoever starts it, without any screen, under the site's own policy; the bytes on its GPU come in on a channel.
import { leaveWebllm, loadIntoWebllm, webllm } from '../../../workers/engine/webllm-host.ts';
import { type Packed, unpack } from '../unpack.ts';

export interface Ended {
  readonly code: string;
  readonly message: string;
  readonly why: string;
  readonly fix: string;
  /** Milliseconds from Stop to the end. */
  readonly afterStop: number;
}
interface Told {
  readonly worker: string;
  readonly live: number;
  readonly most: number;
}
const gpu = new Map<string, Told>();
new BroadcastChannel('gpu bytes').onmessage = ({ data }: MessageEvent<Told>) => gpu.set(data.worker, data);

const text = (error: Error, name: 'code' | 'why' | 'fix'): string => String(Reflect.get(error, name) ?? '');
function ended(error: unknown, stopped: number): Ended {
  if (!(error instanceof Error)) throw error;
  const afterStop = stopped === 0 ? 0 : performance.now() - stopped;
  return { code: text(error, 'code') || error.name, message: error.message, why: text(error, 'why'), fix: text(error, 'fix'), afterStop };
}
const GREEDY = { temperature: 0, topK: 0, topP: 1, seed: 0, stops: [] };

const page = {
  leaveWebllm,
  /** How a load ended; `stopAt`: Stop is pressed when its progress says so. */
  async load(packed: Packed, stopAt = ''): Promise<Ended> {
    const controller = new AbortController();
    let stopped = 0;
    const heard = (_: number, what: string): void => {
      if (stopAt === '' || stopped > 0 || !what.includes(stopAt)) return;
      stopped = performance.now();
      controller.abort();
    };
    try {
      await loadIntoWebllm(await unpack(packed), heard, controller.signal);
      return { code: 'loaded', message: '', why: '', fix: '', afterStop: 0 };
    } catch (error) {
      return ended(error, stopped);
    }
  },
  /** Ids, and how it ended: by web-llm's word or by an error's code. `stopAfter` -1: never. */
  async answer(prompt: readonly number[], maxTokens: number, stopAfter = -1, onFirst = '') {
    const ids: number[] = [];
    const controller = new AbortController();
    try {
      const heard = (id: number): void => {
        ids.push(id);
        if (ids.length === 1 && onFirst !== '') document.title = onFirst;
        if (ids.length === stopAfter) controller.abort();
      };
      const going = webllm().generate(Uint32Array.from(prompt), { ...GREEDY, maxTokens }, heard, controller.signal);
      // After it has begun, before a token is there.
      if (stopAfter === 0) setTimeout(() => controller.abort());
      return { ids, end: await going };
    } catch (error) {
      return { ids, end: ended(error, 0).code };
    }
  },
  lastLogits: async (tokens: readonly number[]) =>
    Array.from(await webllm().lastLogits(Uint32Array.from(tokens), new AbortController().signal)),
  /** Bytes on the GPU, of all workers that there were, as each said last. */
  gpu: () => ({
    workers: gpu.size,
    live: [...gpu.values()].reduce((sum, { live }) => sum + live, 0),
    most: Math.max(0, ...[...gpu.values()].map(({ most }) => most)),
  }),
  /** What lies in the stores that web-llm knows. */
  async stores() {
    const files: string[] = [];
    for await (const name of (await navigator.storage.getDirectory()).keys()) files.push(name);
    return { files, caches: await caches.keys(), databases: (await indexedDB.databases()).map(({ name }) => name ?? '') };
  },
};
declare global {
  var trouble: typeof page;
}
globalThis.trouble = page;
