// A worker that tries what a worker of ours must not be able to do, and writes blobs as ours do.
import { serve } from '../../../src/rpc/rpc.ts';
import { closeNetwork } from '../../../src/rpc/start-worker.ts';
import { readBlob, storingBlobs } from '../../../src/storage/blob-writer.ts';
import { bytesSource } from '../../../src/storage/blobs.ts';
import type { BlobRef } from '../../../src/storage/types.ts';

export interface ProbeApi {
  /** What came of a request to another origin. */
  foreignFetch(address: string): Promise<string>;
  foreignSocket(address: string): Promise<string>;
  closeNetwork(): Promise<string>;
  put(bytes: Uint8Array, name: string): Promise<BlobRef>;
  /** Puts a blob, then fails before a record names it. */
  putAndFail(bytes: Uint8Array): Promise<void>;
  read(ref: BlobRef, name: string): Promise<Uint8Array>;
}
const text = (error: unknown): string => (error instanceof Error ? `${error.name}: ${error.message}` : String(error));
const fetchOnce = globalThis.fetch;

const api: ProbeApi = {
  async foreignFetch(address) {
    try {
      return `status ${(await fetchOnce(address, { mode: 'no-cors' })).status}`;
    } catch (error) {
      return text(error);
    }
  },
  foreignSocket: (address) =>
    new Promise((resolve) => {
      try {
        const socket = new WebSocket(address);
        socket.onopen = () => resolve('open');
        socket.onerror = () => resolve('refused');
      } catch (error) {
        resolve(text(error));
      }
    }),
  async closeNetwork() {
    closeNetwork();
    return ['fetch', 'XMLHttpRequest', 'WebSocket', 'EventSource', 'importScripts']
      .filter((name) => Reflect.get(globalThis, name) !== undefined)
      .join(' ');
  },
  put: (bytes, name) => storingBlobs((put) => put(bytesSource(name, bytes))),
  putAndFail: (bytes) =>
    storingBlobs(async (put) => {
      await put(bytesSource('lost', bytes));
      throw new RangeError('before the record was written');
    }),
  read: (ref, name) => readBlob({ ...ref, name }),
};
serve<ProbeApi>(api);
