// Starts web-llm's worker when it is wanted, ends it when a load has failed or was stopped, and hands out its typed API.
import { AppError } from '../../src/lib/error.ts';
import { type Connection, connect } from '../../src/rpc/rpc.ts';
import { startWorker } from '../../src/rpc/start-worker.ts';
import type { WebllmApi, WebllmFiles, WebllmLoaded } from '../../src/runtimes/types.ts';
import webllmUrl from '../webllm.ts?worker&url';

interface Running {
  readonly worker: Worker;
  readonly connection: Connection<WebllmApi>;
}
let running: Running | undefined;

function start(): Running {
  const worker = startWorker(webllmUrl, import.meta.url, 'maquette web-llm');
  const started = { worker, connection: connect<WebllmApi>(worker) };
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    end(started, event.message);
  });
  return started;
}

function end(dead: Running, why: string): void {
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

/** Ends the worker as it is: after its GPU was lost there is nothing to unload. */
export function endWebllm(): void {
  if (running !== undefined) end(running, '');
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
