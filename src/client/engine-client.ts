// Starts the engine's worker, starts a new one when it dies or loses the GPU, and hands out its typed API.
import engineUrl from '../../workers/engine.ts?worker&url';
import { AppError } from '../lib/error.ts';
import type { EngineApi } from '../rpc/contract.ts';
import { type Connection, connect } from '../rpc/rpc.ts';
import { startWorker } from '../rpc/start-worker.ts';

/** The third crash of a GPU within one session of a browser takes the GPU away for good, and a worker survives none (reliability.md section 0.6). */
const RESTARTS = 2;
/** Deaths further apart than this are not "in a row". */
const IN_A_ROW_MS = 10 * 60_000;
/** What a call that was running when the GPU was lost has to save what is done. */
const GRACE_MS = 2000;

/** 'restarted': a new worker is there, without a model. 'gone': it will not come back before the browser is restarted. */
export interface EngineEvent {
  readonly kind: 'restarted' | 'gone';
  readonly error: AppError;
}
type Listener = (event: EngineEvent) => void;

interface Running {
  readonly worker: Worker;
  readonly connection: Connection<EngineApi>;
}

const listeners = new Set<Listener>();
let running: Running | undefined;
let gone: Connection<EngineApi> | undefined;
let deaths: number[] = [];

/** The engine's functions. Ask again for each call: after a restart they are those of the new worker. */
export function engine(): EngineApi {
  if (gone !== undefined) return gone.api;
  running ??= start();
  return running.connection.api;
}

/** Calls back when the worker was lost. Returns the function that stops it. */
export function onEngineEvent(callback: Listener): () => void {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

function start(): Running {
  const worker = startWorker(engineUrl, import.meta.url, 'maquette engine');
  const connection = connect<EngineApi>(worker);
  const started: Running = { worker, connection };
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    died(started, stopped(event.message), 0);
  });
  connection.api.gpuLost().then(
    (why) => died(started, lost(why), GRACE_MS),
    () => undefined,
  );
  return started;
}

function lost(why: string): AppError {
  return new AppError('gpu/lost', 'The GPU was lost while it was in use.', {
    why: `Another program or the driver reset it, or it ran out of memory. The browser says: ${why === '' ? 'nothing more' : why.replace(/[.\s]+$/, '')}.`,
    fix: 'Load the model again; what was saved is safe.',
  });
}
function stopped(why: string): AppError {
  return new AppError('engine/stopped', 'The part of this page that works with the model stopped.', {
    why: why === '' ? 'Its program could not be loaded from this site.' : `The browser says: ${why}`,
    fix: 'Load the model again; what was saved is safe.',
  });
}
/** When it happened once too often. */
function final(last: AppError, times: number): AppError {
  if (last.code !== 'gpu/lost') {
    return new AppError(last.code, `The part of this page that works with the model stopped ${times} times in a row.`, {
      why: last.why,
      fix: 'Check that the site is reachable, then reload the page. What was saved is safe.',
      facts: { times },
    });
  }
  return new AppError('gpu/lost', `The GPU was lost ${times} times in a row.`, {
    why: `After that a browser gives it to no page any more. ${last.why}`,
    fix: 'Close all windows of the browser and open it again. What was saved is safe.',
    facts: { times },
  });
}

function died(dead: Running, error: AppError, graceMs: number): void {
  if (running !== dead) return;
  running = undefined;
  setTimeout(() => {
    dead.connection.end(error);
    dead.worker.terminate();
  }, graceMs);
  const now = Date.now();
  deaths = [...deaths.filter((time) => now - time < IN_A_ROW_MS), now];
  if (deaths.length <= RESTARTS) {
    running = start();
    tell({ kind: 'restarted', error });
    return;
  }
  const last = final(error, deaths.length);
  gone = connect<EngineApi>(new MessageChannel().port1);
  gone.end(last);
  tell({ kind: 'gone', error: last });
}

function tell(event: EngineEvent): void {
  for (const listener of listeners) listener(event);
}
