// A page around the worker in which both runtimes run.
import { connect } from '../../../src/rpc/rpc.ts';
import { startWorker } from '../../../src/rpc/start-worker.ts';
import type { BothApi } from './types.ts';
import workerUrl from './worker.ts?worker&url';

const both = connect<BothApi>(startWorker(workerUrl, import.meta.url, 'both runtimes')).api;
declare global {
  var bothRuntimes: BothApi;
}
globalThis.bothRuntimes = both;
