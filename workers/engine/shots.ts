// What the Prompt screen asks while a prompt is written.
import type { Example } from '../../src/data/types.ts';
import { drawShots as draw } from '../../src/methods/compose.ts';
import type { Prompt } from '../../src/methods/types.ts';
import { promptCost } from './contestants.ts';
import type { Session } from './session.ts';
import { readTaskData } from './task-data.ts';

/** Shots come from the training rows only. */
export async function drawShots(taskId: string, count: number, seed: number): Promise<readonly Example[]> {
  return draw((await readTaskData(taskId)).dataset.train, count, seed);
}

export async function promptTokens(session: Session, taskId: string, prompt: Prompt): Promise<number> {
  return promptCost(session, await readTaskData(taskId), prompt);
}
