// Everything the engine's worker can do, each function from its own file.
import { mapColumns } from '../../src/data/columns.ts';
import { AppError } from '../../src/lib/error.ts';
import { drawShots } from '../../src/methods/compose.ts';
import { declarations } from '../../src/methods/registry.ts';
import { metricDeclarations } from '../../src/metrics/registry.ts';
import type { DeviceReport, EngineApi } from '../../src/rpc/contract.ts';
import { eraseEverything } from '../../src/storage/erase.ts';
import { chat } from './chat.ts';
import { board, compare, deleteContestant, ensureBase, openTest, promptCost, savePrompt } from './contestants.ts';
import { dataReport, importData, previewRow, propose } from './data.ts';
import { exportContestant, exportTargets } from './exporting.ts';
import { planFit } from './fit-plan.ts';
import { JOB_LOCK, runFit } from './fitting.ts';
import { importContestant } from './importing.ts';
import { endInterruptedRuns } from './keep-trained.ts';
import { measure } from './measure.ts';
import { deleteModel, importModel, inspectModel, loadModel, memoryToTrain, statusOf, unloadModel } from './models.ts';
import { exclusive, needLoaded, type Session, sessionGpu, unload } from './session.ts';
import { readTaskData } from './task-data.ts';

export function engineApi(session: Session): EngineApi {
  // Boards wait for it, so that a run of a closed tab is never shown as if it went on.
  const recovered = endInterruptedRuns(JOB_LOCK);
  recovered.catch(() => undefined); // thrown where it is awaited
  return {
    device: () => deviceReport(session),
    gpuLost: () => session.lost,
    methods: async () => declarations(session.loaded?.record.config),
    metrics: async () => metricDeclarations(),

    importData: async (content, fileName) => importData(content, fileName),
    mapColumns: async (table, roles) => mapColumns(table, roles),
    propose: async (rows) => propose(rows),
    dataReport: (taskId) => dataReport(session, taskId),
    previewRow: (taskId, rowId, prompt) => previewRow(session, taskId, rowId, prompt),

    inspectModel,
    importModel,
    loadModel: (modelId, onProgress, signal) => loadModel(session, modelId, onProgress, signal),
    unloadModel: () => unloadModel(session),
    modelStatus: async () => statusOf(session),
    deleteModel: (modelId) => deleteModel(session, modelId),
    memoryToTrain,

    ensureBase: (taskId) => ensureBase(session, taskId),
    async promptTokens(taskId, prompt) {
      needLoaded(session);
      return promptCost(session, await readTaskData(taskId), prompt);
    },
    drawShots: async (taskId, count, seed) => drawShots((await readTaskData(taskId)).dataset.train, count, seed),
    savePrompt: (taskId, prompt, name) => savePrompt(session, taskId, prompt, name),
    measure: (ids, split, onProgress, signal) => measure(session, ids, split, onProgress, signal),
    openTest,
    async board(taskId, split) {
      await recovered;
      return board(session, taskId, split);
    },
    compare,
    deleteContestant: (contestantId) => deleteContestant(session, contestantId),

    planFit: (spec) => planFit(session, spec),
    async fit(spec, onEvent, signal) {
      await recovered;
      return runFit(session, spec, onEvent, signal);
    },
    chat: (request, onText, signal) => chat(session, request, onText, signal),

    exportTargets,
    exportContestant,
    importContestant: (taskId, files) => importContestant(session, taskId, files),

    eraseEverything: () =>
      exclusive(session, { kind: 'deleting', what: 'everything is being erased' }, async () => {
        unload(session);
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
