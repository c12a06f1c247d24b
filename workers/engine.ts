// The engine's worker: builds the objects, serves the contract.
import type { EngineApi, TemplateApi } from '../src/rpc/contract.ts';
import { connect, serve } from '../src/rpc/rpc.ts';
import { closeNetwork, startWorker } from '../src/rpc/start-worker.ts';
import { engineApi } from './engine/api.ts';
import { partMissing } from './engine/part.ts';
import { createSession } from './engine/session.ts';
import { createTemplateRenderer, type TemplateWorker } from './engine/templates.ts';
import templateUrl from './template.ts?worker&url';

function startTemplates(): TemplateWorker {
  const worker = startWorker(templateUrl, import.meta.url, 'maquette template');
  const connection = connect<TemplateApi>(worker);
  // Without it whoever asked would wait for ever.
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    connection.end(partMissing());
  });
  return { connection, terminate: () => worker.terminate() };
}
const session = createSession(navigator.gpu, createTemplateRenderer(startTemplates));
serve<EngineApi>(engineApi(session));
// After the modules have run: nothing that comes later reaches the network.
queueMicrotask(closeNetwork);
