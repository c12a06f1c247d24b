// Everything the engine's worker can do, each function from its own file. What a first visit does not need is loaded when it is first asked for.
import { AppError } from '../../src/lib/error.ts';
import { declarations } from '../../src/methods/registry.ts';
import { metricDeclarations } from '../../src/metrics/registry.ts';
import type { DeviceReport, EngineApi } from '../../src/rpc/contract.ts';
import { tidyStore } from '../../src/runtimes/webllm-store.ts';
import { freeUnreferenced } from '../../src/storage/blobs.ts';
import { eraseEverything } from '../../src/storage/erase.ts';
import { interruptedRuns } from '../../src/storage/runs.ts';
import { part } from './part.ts';
import { exclusive, needLoaded, RUN_LOCK, type Session, sessionGpu, statusOf, unload } from './session.ts';

const chats = () => part(() => import('./chat.ts'));
const held = () => part(() => import('./held-difference.ts'));
const columns = () => part(() => import('../../src/data/columns.ts'));
const contestants = () => part(() => import('./contestants.ts'));
const data = () => part(() => import('./data.ts'));
const exporting = () => part(() => import('./exporting.ts'));
const fitting = () => part(() => import('./fitting.ts'));
const importing = () => part(() => import('./importing.ts'));
const measuring = () => part(() => import('./measure.ts'));
const models = () => part(() => import('./models.ts'));
const plans = () => part(() => import('./fit-plan.ts'));
const shots = () => part(() => import('./shots.ts'));
const webllm = () => part(() => import('./webllm.ts'));
const webllmFiles = () => part(() => import('./webllm-files.ts'));
const trained = () => part(() => import('./keep-trained.ts'));

/** With a model here a person may unplug the network: from then on nothing is read from the site. */
function fetchAll({ templates }: Session): void {
  const all = [chats, columns, contestants, data, exporting, fitting, held, importing, measuring, models, plans, shots, trained];
  void Promise.allSettled([...all.map((load) => load()), templates.ready?.()]);
}

/** A run of a closed tab ends as stopped, its best kept; what it was handing to web-llm is taken away. */
async function recover(): Promise<void> {
  void tidyStore().catch(() => undefined);
  if ((await interruptedRuns()).length === 0) await freeUnreferenced();
  else await (await trained()).endInterruptedRuns(RUN_LOCK);
}

export function engineApi(session: Session): EngineApi {
  // Boards wait for it, so that a run of a closed tab is never shown as if it went on.
  const recovered = recover();
  recovered.catch(() => undefined); // thrown where it is awaited
  void part(() => import('../../src/storage/backup.ts')).then(
    ({ keepCopy }) => keepCopy(),
    () => undefined, // said by whatever is asked next
  );
  return {
    device: () => deviceReport(session),
    gpuLost: () => session.lost,
    methods: async () => declarations(session.loaded?.record.config),
    metrics: async () => metricDeclarations(),

    importData: async (content, fileName) => (await data()).importData(content, fileName),
    mapColumns: async (table, roles) => (await columns()).mapColumns(table, roles),
    propose: async (rows) => (await data()).propose(rows),
    dataReport: async (taskId) => (await data()).dataReport(session, taskId),
    previewRow: async (taskId, rowId, prompt) => (await data()).previewRow(session, taskId, rowId, prompt),

    inspectModel: async (files) => (await models()).inspectModel(files),
    importModel: async (...args) => (await models()).importModel(...args),
    async loadModel(modelId, onProgress, signal) {
      const status = await (await models()).loadModel(session, modelId, onProgress, signal);
      fetchAll(session);
      return status;
    },
    unloadModel: async () => (await models()).unloadModel(session),
    modelStatus: async () => statusOf(session),
    deleteModel: async (modelId) => (await models()).deleteModel(session, modelId),
    storageChoices: async (modelId) => (await models()).storageChoices(modelId),

    webllmOffer: async (modelId) => (await webllmFiles()).webllmOffer(modelId),
    inspectLibrary: async (...args) => (await webllmFiles()).inspectLibrary(...args),
    prepareWebllm: async (...args) => (await webllmFiles()).prepareWebllm(...args),
    async freeWebllm(modelId) {
      if (session.webllm?.record.id === modelId) await (await webllm()).unloadWebllm(session);
      return (await webllmFiles()).forgetPrepared(modelId);
    },
    loadWebllm: async (...args) => (await webllm()).loadWebllm(session, ...args),
    unloadWebllm: async () => (await webllm()).unloadWebllm(session),
    runtimeStatus: async () => (await webllm()).runtimeStatus(session),

    ensureBase: async (taskId) => (await contestants()).ensureBase(session, taskId),
    async promptTokens(taskId, prompt) {
      needLoaded(session);
      return (await shots()).promptTokens(session, taskId, prompt);
    },
    drawShots: async (taskId, count, seed) => (await shots()).drawShots(taskId, count, seed),
    savePrompt: async (taskId, prompt, name) => (await contestants()).savePrompt(session, taskId, prompt, name),
    measure: async (...args) => (await measuring()).measure(session, ...args),
    openTest: async (taskId) => (await contestants()).openTest(taskId),
    async board(taskId, split, runtime) {
      await recovered;
      return (await contestants()).board(session, taskId, split, runtime);
    },
    compare: async (...args) => (await contestants()).compare(...args),
    deleteContestant: async (contestantId) => (await contestants()).deleteContestant(session, contestantId),

    planFit: async (spec) => (await plans()).planFit(session, spec),
    async fit(spec, onEvent, signal) {
      await recovered;
      return (await fitting()).runFit(session, spec, onEvent, signal);
    },
    chat: async (...args) => (await chats()).chat(session, ...args),
    heldDifference: async (...args) => (await held()).heldDifference(session, ...args),

    exportTargets: async (contestantId) => (await exporting()).exportTargets(contestantId),
    exportContestant: async (contestantId, format) => (await exporting()).exportContestant(session.templates, contestantId, format),
    importContestant: async (taskId, files) => (await importing()).importContestant(session, taskId, files),

    eraseEverything: () =>
      exclusive(session, { kind: 'deleting', what: 'everything is being erased' }, async () => {
        unload(session);
        if (session.webllm !== undefined) await (await import('./webllm-room.ts')).leave(session);
        await eraseEverything();
      }),
  };
}

async function deviceReport(session: Session): Promise<DeviceReport> {
  try {
    const gpu = await sessionGpu(session);
    const flops = session.loaded === undefined ? {} : { flopsPerSecond: gpu.flopsPerSecond };
    return {
      available: true,
      name: gpu.name,
      software: /swiftshader|llvmpipe|softpipe|lavapipe|basic render/i.test(gpu.name),
      maxBufferBytes: gpu.device.limits.maxBufferSize,
      ...flops,
    };
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'gpu/unavailable') throw error;
    return { available: false, name: '', software: false, maxBufferBytes: 0, why: error.why, fix: error.fix };
  }
}
