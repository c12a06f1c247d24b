// Training runs: what was asked for, how it went, and the head of their last safe state.
import { notify } from './changes.ts';
import { restore } from './restore.ts';
import { readAll, readByTask, readOne, write, writing } from './schema.ts';
import type { RunRecord } from './types.ts';

/** Newest first. */
export async function listRuns(taskId: string): Promise<RunRecord[]> {
  return (await readByTask('runs', taskId)).sort((a, b) => b.startedAt - a.startedAt);
}
export function readRun(id: string): Promise<RunRecord | undefined> {
  return readOne('runs', id);
}
/** `relaxed` for progress, `strict` whenever a state becomes the head or a run ends. */
export function saveRun(run: RunRecord, durability: 'strict' | 'relaxed' = 'strict'): Promise<void> {
  return write('runs', run, durability);
}
/** Runs that were going on when their tab went away. */
export async function interruptedRuns(): Promise<RunRecord[]> {
  return (await readAll('runs')).filter((run) => run.status === 'fitting' || run.status === 'evaluating' || run.status === 'paused');
}
/** Changes a run as it is on the disk now; one that was deleted stays deleted. */
export async function updateRun(id: string, change: (run: RunRecord) => RunRecord): Promise<void> {
  await writing(['runs'], async (tx) => {
    const found = restore('runs', await tx.objectStore('runs').get(id));
    if (found !== undefined) await tx.objectStore('runs').put({ ...change(found), id });
  });
  notify('runs', id);
}
export function renameRun(id: string, name: string): Promise<void> {
  return updateRun(id, (run) => ({ ...run, name }));
}
/** The record; the bytes of its last state go with `freeUnreferenced`. What it made stays. */
export async function deleteRun(id: string): Promise<void> {
  await writing(['runs'], (tx) => tx.objectStore('runs').delete(id));
  notify('runs', id);
}
