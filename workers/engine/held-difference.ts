// Trained weights fit the numbers of the base that they were trained on. Where the base is held otherwise now, this says so and measures what it changes:
// the run's pinned prompts, answered by the state that was kept then, are answered again.
import type { Patch } from '../../src/engine/types.ts';
import { answerGreedily } from '../../src/experiments/fit-env.ts';
import type { Runtime } from '../../src/experiments/types.ts';
import type { HeldDifference } from '../../src/rpc/contract.ts';
import { needContestant } from '../../src/storage/customizations.ts';
import { readRun } from '../../src/storage/runs.ts';
import type { ContestantRecord, RunRecord } from '../../src/storage/types.ts';
import { patchOf } from './adapters.ts';
import { storageChoices } from './models.ts';
import { exclusive, type Loaded, needLoadedModel, type Session } from './session.ts';
import { longestAnswerOf, readTaskData } from './task-data.ts';

/** @throws 'engine/busy', 'model/none', 'model/other', 'webllm/not-loaded'; after an abort only what was answered is there */
export async function heldDifference(
  session: Session,
  contestantId: string,
  signal: AbortSignal,
  runtime: Runtime = 'engine',
): Promise<HeldDifference | undefined> {
  const contestant = await needContestant(contestantId);
  const run = contestant.runId === undefined ? undefined : await readRun(contestant.runId);
  if (contestant.adapterId === undefined || run?.heldAs === undefined) return undefined;
  const choices = await storageChoices(contestant.modelId);
  const trainedOn = choices.find(({ storage }) => storage === run.heldAs);
  const held = runtime === 'webllm' ? undefined : needLoadedModel(session, contestant.modelId, contestant.name).engine.storage;
  // Web-llm has the numbers of the model's files.
  const heldNow = choices.find(({ storage, recommended }) => (held === undefined ? recommended : storage === held));
  // Exact ways of holding a file have the same numbers, and those give the same bits.
  if (trainedOn === undefined || heldNow === undefined || trainedOn === heldNow || (trainedOn.exact && heldNow.exact)) return undefined;
  return exclusive(session, { kind: 'answering', what: 'pinned prompts are being answered' }, async () => {
    const who = runtime === 'webllm' ? await inWebllm(session, contestant, signal) : await inEngine(session, contestant);
    // Its adapter cannot run there: our engine has answered, and is asked by itself.
    if (who === undefined) return undefined;
    const { engine, renderer, patch } = who;
    const longestAnswer = longestAnswerOf(await readTaskData(contestant.taskId), renderer, contestant.prompt);
    const pinned: { name: string; was: string; now: string }[] = [];
    for (const { name, messages, text } of answeredThen(run)) {
      if (signal.aborted) break;
      const now = await answerGreedily({ engine, renderer, longestAnswer, signal }, run.prompt, messages, patch);
      if (!signal.aborted) pinned.push({ name, was: text, now });
    }
    return { runtime, trainedOn, heldNow, pinned };
  });
}

/** Who answers, with the contestant's weights in use. */
interface Who extends Pick<Loaded, 'renderer'> {
  readonly engine: Pick<Loaded['engine'], 'generate'>;
  readonly patch?: Patch | undefined;
}
async function inEngine(session: Session, contestant: ContestantRecord): Promise<Who> {
  const { engine, renderer } = needLoadedModel(session, contestant.modelId, contestant.name);
  return { engine, renderer, patch: await patchOf(session, contestant) };
}
async function inWebllm(session: Session, contestant: ContestantRecord, signal: AbortSignal): Promise<Who | undefined> {
  const { generate, placeOf } = await import('./webllm-answers.ts');
  const { runtime, renderer } = await placeOf(session, contestant, 1, () => undefined, signal);
  if (runtime !== 'webllm') return undefined;
  const engine: Who['engine'] = {
    async *generate(prompt, sampling, _patch, stop = signal) {
      const ids: number[] = [];
      await generate(session, prompt, sampling, (id) => ids.push(id), stop);
      yield* ids;
    },
  };
  return { engine, renderer };
}

/** The pinned conversations with the answers of the state that was kept: the best one, or the last where no rows could choose. */
export function answeredThen({ samples, pinned = [], best }: Pick<RunRecord, 'samples' | 'pinned' | 'best'>) {
  const step = best?.step ?? Math.max(0, ...samples.map((sample) => sample.step));
  return pinned.flatMap(({ name, messages }) => {
    const sample = samples.find((one) => one.name === name && one.step === step);
    return sample === undefined ? [] : [{ name, messages, text: sample.text }];
  });
}
