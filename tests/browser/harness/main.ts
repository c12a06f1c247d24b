// The engine's client and the storage without any screen, for tests that call them from a page under the site's own policy.
import { engine, onEngineEvent } from '../../../src/client/engine-client.ts';
import { connect } from '../../../src/rpc/rpc.ts';
import { startWorker } from '../../../src/rpc/start-worker.ts';
import * as blobs from '../../../src/storage/blobs.ts';
import * as changes from '../../../src/storage/changes.ts';
import * as customizations from '../../../src/storage/customizations.ts';
import * as models from '../../../src/storage/models.ts';
import { unreadableRecords } from '../../../src/storage/restore.ts';
import * as runs from '../../../src/storage/runs.ts';
import { database } from '../../../src/storage/schema.ts';
import * as tasks from '../../../src/storage/tasks.ts';
import { storageUse } from '../../../src/storage/usage.ts';
import type { ProbeApi } from './probe.ts';
import probeUrl from './probe.ts?worker&url';

const harness = {
  engine,
  onEngineEvent,
  database,
  storageUse,
  unreadableRecords,
  probe: (): ProbeApi => connect<ProbeApi>(startWorker(probeUrl, import.meta.url, 'probe')).api,
  ...blobs,
  ...changes,
  ...customizations,
  ...models,
  ...runs,
  ...tasks,
};
declare global {
  var maquette: typeof harness;
}
globalThis.maquette = harness;
