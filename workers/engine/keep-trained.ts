// From trained numbers to what a person has: PEFT files, an adapter, a contestant. Also for runs that their tab did not live to end.
import type { HostTensor } from '../../src/engine/types.ts';
import { asAppError } from '../../src/lib/error.ts';
import type { Prompt } from '../../src/methods/types.ts';
import { readBlob, storingBlobs } from '../../src/storage/blob-writer.ts';
import { freeUnreferenced } from '../../src/storage/blobs.ts';
import { saveTrained } from '../../src/storage/customizations.ts';
import { needModel } from '../../src/storage/models.ts';
import { interruptedRuns, updateRun } from '../../src/storage/runs.ts';
import { readTask } from '../../src/storage/tasks.ts';
import type { ContestantRecord, RunRecord } from '../../src/storage/types.ts';
import { adapterOf, keepAdapter, type LoraNumbers } from './adapters.ts';
import { decodeCheckpoint, tensorsOf } from './checkpoints.ts';
import { promptBytes } from './contestants.ts';

/** Rank, alpha and so on out of a run's settings. */
export function numbersOf(config: Readonly<Record<string, unknown>>): LoraNumbers {
  const number = (key: string, otherwise: number): number => {
    const value = config[key];
    return typeof value === 'number' ? value : otherwise;
  };
  const rank = number('rank', 16);
  return { rank, alpha: number('alpha', rank), dropout: number('dropout', 0), rsLora: config.rsLora === true };
}

/** Makes the adapter and the contestant of a run: of the numbers given, or of the best state at its head. @throws 'storage/full', 'storage/damaged' */
export async function keepTrained(
  run: RunRecord,
  made?: { readonly tensors: ReadonlyMap<string, HostTensor>; readonly prompt: Prompt },
): Promise<ContestantRecord> {
  const [model, task] = await Promise.all([needModel(run.model), readTask(run.taskId)]);
  const prompt = made?.prompt ?? run.prompt;
  const tensors = made?.tensors ?? (await bestTensors(run));
  const name = run.name ?? 'LoRA';
  return storingBlobs(async (put) => {
    const adapter = await keepAdapter(put, adapterOf(tensors, numbersOf(run.config), model.name), model.config, {
      name,
      modelId: model.id,
    });
    const contestant: ContestantRecord = {
      id: crypto.randomUUID(),
      taskId: run.taskId,
      name,
      method: run.method,
      modelId: model.id,
      prompt,
      adapterId: adapter.id,
      runId: run.id,
      config: run.config,
      cost: { ...run.cost, bytesToShip: adapter.bytes + (prompt.system === '' && prompt.shots.length === 0 ? 0 : promptBytes(prompt)) },
      createdAt: Date.now(),
      afterTestOpened: task?.testOpenedAt !== undefined,
      chosenOnValidation: run.best !== undefined,
      ...(run.seen === undefined ? {} : { seen: run.seen }),
      imported: false,
    };
    await saveTrained(adapter, contestant);
    return contestant;
  });
}

async function bestTensors(run: RunRecord): Promise<ReadonlyMap<string, HostTensor>> {
  if (run.checkpoint === undefined) return new Map();
  const { checkpoint, places } = decodeCheckpoint(await readBlob(run.checkpoint));
  return tensorsOf((checkpoint.best ?? checkpoint).optimizer, places);
}

/** Runs whose tab was closed while they trained end as stopped, their best kept. Only while nobody trains: else such a run may be another tab's. */
export async function endInterruptedRuns(lockName: string): Promise<void> {
  await navigator.locks.request(lockName, { ifAvailable: true }, async (lock) => {
    if (lock === null) return;
    for (const run of await interruptedRuns()) {
      // Its task may be deleted meanwhile: then it is gone, and nothing is made of it.
      const end = (how: Partial<RunRecord>): Promise<void> =>
        updateRun(run.id, ({ checkpoint: _, ...kept }) => ({ ...kept, status: 'stopped', ...how }));
      try {
        const contestant = run.checkpoint === undefined || run.best === undefined ? undefined : await keepTrained(run);
        await end(contestant === undefined ? {} : { contestantId: contestant.id, cost: contestant.cost });
      } catch (error) {
        const { code, message } = asAppError(error);
        await end({ error: { code, message } });
      }
    }
    await freeUnreferenced();
  });
}
