// What stands on boards: contestants, how they answered, and the adapters of those with trained weights.
import type { Runtime, Split } from '../experiments/types.ts';
import { AppError } from '../lib/error.ts';
import { notify } from './changes.ts';
import { restore } from './restore.ts';
import { readAll, readByTask, readOne, write, writing } from './schema.ts';
import { missingTask } from './tasks.ts';
import type { AdapterRecord, ContestantRecord, ResultRecord } from './types.ts';

/** Oldest first, as they were made. */
export async function listContestants(taskId: string): Promise<ContestantRecord[]> {
  return (await readByTask('contestants', taskId)).sort((a, b) => a.createdAt - b.createdAt);
}
export function readContestant(id: string): Promise<ContestantRecord | undefined> {
  return readOne('contestants', id);
}
/** @throws 'contestant/missing' */
export async function needContestant(id: string): Promise<ContestantRecord> {
  const found = await readContestant(id);
  if (found === undefined) throw missingContestant(id);
  return found;
}
export function saveContestant(contestant: ContestantRecord): Promise<void> {
  return write('contestants', contestant);
}
/** Changes a contestant as it is on the disk now: a name that was given meanwhile stays, and what was deleted stays deleted. @throws 'contestant/missing' */
export async function updateContestant(id: string, change: (contestant: ContestantRecord) => ContestantRecord): Promise<void> {
  await writing(['contestants'], async (tx) => {
    const found = restore('contestants', await tx.objectStore('contestants').get(id));
    if (found === undefined) throw missingContestant(id);
    await tx.objectStore('contestants').put({ ...change(found), id });
  });
  notify('contestants', id);
}
export function renameContestant(id: string, name: string): Promise<void> {
  return updateContestant(id, (contestant) => ({ ...contestant, name }));
}
function missingContestant(id: string): AppError {
  return new AppError('contestant/missing', 'This customization is not on this device any more.', {
    why: 'It was deleted, perhaps in another tab.',
    fix: 'Choose another one on the Board.',
    facts: { contestantId: id },
  });
}
/** The contestant and its results; its adapter too, where nobody else uses it. Bytes go with `freeUnreferenced`. */
export async function deleteContestantRecords(id: string): Promise<void> {
  await writing(['contestants', 'results', 'adapters'], async (tx) => {
    const contestants = tx.objectStore('contestants');
    const found = restore('contestants', await contestants.get(id));
    await contestants.delete(id);
    for (const key of await tx.objectStore('results').index('contestantId').getAllKeys(id)) await tx.objectStore('results').delete(key);
    if (found?.adapterId === undefined) return;
    const others = (await contestants.getAll()).map((value) => restore('contestants', value));
    if (others.some((other) => other?.adapterId === found.adapterId)) return;
    await tx.objectStore('adapters').delete(found.adapterId);
  });
  for (const store of ['contestants', 'results', 'adapters'] as const) notify(store, id);
}

/** One a contestant, split and runtime. Our engine's has no runtime in its id: so they were named before there was another one. */
export function resultId(contestantId: string, split: Split, runtime: Runtime = 'engine'): string {
  return `${contestantId} ${split}${runtime === 'engine' ? '' : ` ${runtime}`}`;
}
/** How a contestant answered a split, once for each runtime that did. An older one of web-llm may lie where our engine's lies now. */
export async function readResults(contestantId: string, split: Split): Promise<ResultRecord[]> {
  const found = await Promise.all(
    (['engine', 'webllm'] as const).map((runtime) => readOne('results', resultId(contestantId, split, runtime))),
  );
  return found.filter((result) => result !== undefined);
}
export async function listResults(taskId: string, split?: Split): Promise<ResultRecord[]> {
  const results = await readByTask('results', taskId);
  return split === undefined ? results : results.filter((result) => result.split === split);
}
/** `strict` at the end of a measurement; while rows still come, a lost one is only measured again. Of a contestant that was deleted nothing is kept. */
export async function saveResult(result: ResultRecord): Promise<void> {
  await writing(
    ['contestants', 'results'],
    async (tx) => {
      const there = await tx.objectStore('contestants').getKey(result.contestantId);
      if (there !== undefined) await tx.objectStore('results').put(result);
    },
    result.complete ? 'strict' : 'relaxed',
  );
  notify('results', result.id);
}

export function listAdapters(): Promise<AdapterRecord[]> {
  return readAll('adapters');
}
/** @throws 'adapter/missing' */
export async function needAdapter(id: string): Promise<AdapterRecord> {
  const found = await readOne('adapters', id);
  if (found !== undefined) return found;
  throw new AppError('adapter/missing', 'The trained weights of this customization are not on this device any more.', {
    why: 'They were deleted, or the browser cleared its storage.',
    fix: 'Train again, or import the adapter from a file.',
    facts: { adapterId: id },
  });
}
export async function renameAdapter(id: string, name: string): Promise<void> {
  await write('adapters', { ...(await needAdapter(id)), name });
}
/** An adapter and the contestant made of it, in one write: one is never there without the other, nor without its task. @throws 'storage/full', 'task/missing' */
export async function saveTrained(adapter: AdapterRecord, contestant: ContestantRecord): Promise<void> {
  await writing(['tasks', 'adapters', 'contestants'], async (tx) => {
    if ((await tx.objectStore('tasks').getKey(contestant.taskId)) === undefined) throw missingTask(contestant.taskId);
    await Promise.all([tx.objectStore('adapters').put(adapter), tx.objectStore('contestants').put(contestant)]);
  });
  notify('adapters', adapter.id);
  notify('contestants', contestant.id);
}
