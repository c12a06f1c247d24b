// Trained weights fit the numbers of the base that they were trained on. Where the base is held otherwise now, this says so and measures what it changes:
// the run's pinned prompts, answered by the state that was kept then, are answered again.
import { answerGreedily } from '../../src/experiments/fit-env.ts';
import type { HeldDifference } from '../../src/rpc/contract.ts';
import { needContestant } from '../../src/storage/customizations.ts';
import { readRun } from '../../src/storage/runs.ts';
import type { RunRecord } from '../../src/storage/types.ts';
import { patchOf } from './adapters.ts';
import { storageChoices } from './models.ts';
import { exclusive, needLoadedModel, type Session } from './session.ts';
import { longestAnswerOf, readTaskData } from './task-data.ts';

/** @throws 'engine/busy', 'model/none', 'model/other'; after an abort only what was answered is there */
export async function heldDifference(session: Session, contestantId: string, signal: AbortSignal): Promise<HeldDifference | undefined> {
  const contestant = await needContestant(contestantId);
  const run = contestant.runId === undefined ? undefined : await readRun(contestant.runId);
  if (contestant.adapterId === undefined || run?.heldAs === undefined) return undefined;
  const { engine, renderer } = needLoadedModel(session, contestant.modelId, contestant.name);
  const choices = await storageChoices(contestant.modelId);
  const trainedOn = choices.find(({ storage }) => storage === run.heldAs);
  const heldNow = choices.find(({ storage }) => storage === engine.storage);
  // Exact ways of holding a file have the same numbers, and those give the same bits.
  if (trainedOn === undefined || heldNow === undefined || trainedOn === heldNow || (trainedOn.exact && heldNow.exact)) return undefined;
  return exclusive(session, { kind: 'answering', what: 'pinned prompts are being answered' }, async () => {
    const longestAnswer = longestAnswerOf(await readTaskData(contestant.taskId), renderer, contestant.prompt);
    const patch = await patchOf(session, contestant);
    const pinned: { name: string; was: string; now: string }[] = [];
    for (const { name, messages, text } of answeredThen(run)) {
      if (signal.aborted) break;
      const now = await answerGreedily({ engine, renderer, longestAnswer, signal }, run.prompt, messages, patch);
      if (!signal.aborted) pinned.push({ name, was: text, now });
    }
    return { trainedOn, heldNow, pinned };
  });
}

/** The pinned conversations with the answers of the state that was kept: the best one, or the last where no rows could choose. */
export function answeredThen({ samples, pinned = [], best }: Pick<RunRecord, 'samples' | 'pinned' | 'best'>) {
  const step = best?.step ?? Math.max(0, ...samples.map((sample) => sample.step));
  return pinned.flatMap(({ name, messages }) => {
    const sample = samples.find((one) => one.name === name && one.step === step);
    return sample === undefined ? [] : [{ name, messages, text: sample.text }];
  });
}
