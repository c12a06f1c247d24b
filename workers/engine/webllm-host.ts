// Starts web-llm's worker when it is wanted, ends it when a load has failed or was stopped and when the GPU was lost, and hands out its typed API.
import { AppError, asAppError } from '../../src/lib/error.ts';
import { type Connection, connect } from '../../src/rpc/rpc.ts';
import { startWorker } from '../../src/rpc/start-worker.ts';
import type { WebllmApi, WebllmFiles, WebllmLoaded } from '../../src/runtimes/types.ts';
import { tidyStore } from '../../src/runtimes/webllm-store.ts';
import webllmUrl from '../webllm.ts?worker&url';

interface Running {
  readonly worker: Worker;
  readonly connection: Connection<WebllmApi>;
}
let running: Running | undefined;
/** How long a worker may take to stop a load or to unload before it is ended as it is. */
const GRACE_MS = 5000;

function start(): Running {
  const worker = startWorker(webllmUrl, import.meta.url, 'maquette web-llm');
  const started = { worker, connection: connect<WebllmApi>(worker) };
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    end(started, stopped(event.message));
  });
  return started;
}

/** Whoever waits for an answer of the worker gets `why`; its memory and all that it held on the GPU are free. */
function end(dead: Running, why: AppError): void {
  if (running === dead) running = undefined;
  dead.worker.terminate();
  dead.connection.end(why);
  // A worker that ended within a load had no time to take its files out of the store.
  void tidyStore().catch(() => undefined);
}

function stopped(why: string): AppError {
  return new AppError('webllm/stopped', 'The part of this page that runs web-llm stopped.', {
    why: why === '' ? 'It was ended after a load that did not come to its end.' : `The browser says: ${why}`,
    fix: 'Load the model there again, or run it in our engine.',
  });
}

/** web-llm's functions. Ask again for each call: after a failed load they are those of a new worker. */
export function webllm(): WebllmApi {
  running ??= start();
  return running.connection.api;
}

/** Loads a model into web-llm. Whatever goes wrong on the way, Stop too, the worker ends, and with it what it had put on the GPU; so it does when the GPU is lost
 *  later. The next load starts a new one. */
export async function loadIntoWebllm(
  files: WebllmFiles,
  onProgress: (done: number, what: string) => void,
  signal: AbortSignal,
): Promise<WebllmLoaded> {
  running ??= start();
  const own = running;
  try {
    const loaded = await orAfterGrace(own.connection.api.load(files, onProgress, signal), signal);
    own.connection.api.lost().catch((error: unknown) => {
      if (running === own) end(own, asAppError(error));
    });
    return loaded;
  } catch (error) {
    end(own, stopped(''));
    throw error;
  }
}

/** A worker that compiles for the GPU hears nothing of Stop for a while. */
function orAfterGrace<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => void setTimeout(() => reject(signal.reason), GRACE_MS);
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/** Ends the worker as it is: after its GPU was lost there is nothing to unload. */
export function endWebllm(): void {
  if (running !== undefined) end(running, stopped(''));
}

/** Unloads and ends the worker: its memory and its GPU's bytes are free. */
export async function leaveWebllm(): Promise<void> {
  if (running === undefined) return;
  const own = running;
  try {
    await Promise.race([own.connection.api.unload(), new Promise((resolve) => setTimeout(resolve, GRACE_MS))]);
  } finally {
    end(own, stopped(''));
  }
}
