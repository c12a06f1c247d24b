// Starts web-llm's worker when it is wanted, ends it when a load has failed or was stopped, and hands out its typed API.
import webllmUrl from '../../workers/webllm.ts?worker&url';
import { AppError } from '../lib/error.ts';
import { type Connection, connect } from '../rpc/rpc.ts';
import { startWorker } from '../rpc/start-worker.ts';
import type { WebllmApi, WebllmFiles, WebllmLoaded } from '../runtimes/types.ts';

let running: { readonly worker: Worker; readonly connection: Connection<WebllmApi> } | undefined;

function start(): { readonly worker: Worker; readonly connection: Connection<WebllmApi> } {
  const worker = startWorker(webllmUrl, import.meta.url, 'maquette web-llm');
  const started = { worker, connection: connect<WebllmApi>(worker) };
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    end(started, event.message);
  });
  return started;
}

function end(dead: { readonly worker: Worker; readonly connection: Connection<WebllmApi> }, why: string): void {
  if (running === dead) running = undefined;
  dead.worker.terminate();
  dead.connection.end(
    new AppError('webllm/stopped', 'The part of this page that runs web-llm stopped.', {
      why: why === '' ? 'It was ended after a load that did not come to its end.' : `The browser says: ${why}`,
      fix: 'Load the model there again, or run it in our engine.',
    }),
  );
}

/** web-llm's functions. Ask again for each call: after a failed load they are those of a new worker. */
export function webllm(): WebllmApi {
  running ??= start();
  return running.connection.api;
}

/** Loads a model into web-llm. Whatever goes wrong on the way, the worker ends, and with it what it had put on the GPU. */
export async function loadIntoWebllm(
  files: WebllmFiles,
  onProgress: (done: number, what: string) => void,
  signal: AbortSignal,
): Promise<WebllmLoaded> {
  running ??= start();
  const own = running;
  try {
    return await own.connection.api.load(files, onProgress, signal);
  } catch (error) {
    end(own, '');
    throw error;
  }
}

/** Unloads and ends the worker: its memory and its GPU's bytes are free. */
export async function leaveWebllm(): Promise<void> {
  if (running === undefined) return;
  const own = running;
  try {
    await own.connection.api.unload();
  } finally {
    end(own, '');
  }
}
