// The second runtime: a model into web-llm and out again, answers by token ids, and what a contestant needs there.
import type { Answerer } from '../../src/experiments/runner.ts';
import { openModel } from '../../src/formats/open-model.ts';
import { AppError } from '../../src/lib/error.ts';
import type { Progress, RuntimeStatus, WebllmStatus } from '../../src/rpc/contract.ts';
import type { WebllmEnd, WebllmSampling } from '../../src/runtimes/types.ts';
import { openBlob } from '../../src/storage/blobs.ts';
import { needModel } from '../../src/storage/models.ts';
import type { ModelRecord } from '../../src/storage/types.ts';
import { wordsOf } from './models.ts';
import { exclusive, type InWebllm, type Session } from './session.ts';
import { webllmFiles } from './webllm-files.ts';
import { endWebllm, loadIntoWebllm, webllm } from './webllm-host.ts';
import { engineMakesRoom, leave } from './webllm-room.ts';

/** After these the worker is of no use: the next load starts another one. */
const DEAD = new Set([
  'gpu/lost',
  'gpu/out-of-memory',
  'webllm/library-ended',
  'webllm/library-check',
  'webllm/not-loaded',
  'webllm/stopped',
]);

export async function loadWebllm(
  session: Session,
  modelId: string,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<WebllmStatus> {
  const record = await needModel(modelId);
  return exclusive(session, { kind: 'loading', what: `${record.name} is being loaded into web-llm` }, async () =>
    statusIn(await bringIntoWebllm(session, record, onProgress, signal)),
  );
}

/** As the job that is running. The model that was there leaves first; ours too, where both do not fit. */
export async function bringIntoWebllm(
  session: Session,
  record: ModelRecord,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<InWebllm> {
  await leave(session);
  session.left = undefined;
  session.lostInWebllm = undefined;
  const { files, plan } = await webllmFiles(record);
  const words =
    session.loaded?.record.id === record.id
      ? session.loaded
      : wordsOf(session, await openModel(await Promise.all(record.files.map(openBlob))));
  engineMakesRoom(session, plan);
  const total = files.shards.reduce((sum, { file }) => sum + file.size, 0);
  const heard = (done: number, what: string): void => {
    // What it says of itself is for developers; the share is for people.
    onProgress({
      what: `Loading ${record.name} into web-llm${what.startsWith('Handing over') ? `: ${what.toLowerCase()}` : ''}`,
      done: done * total,
      total,
      unit: 'bytes',
    });
  };
  const loaded = await loadIntoWebllm(files, heard, signal);
  const { tokenizer, renderer } = words;
  const there: InWebllm = { record, api: webllm(), loaded, tokenizer, renderer, plan, adapters: new Set() };
  session.webllm = there;
  // The worker ends with its GPU, between two answers too.
  there.api.lost().catch(() => {
    if (session.webllm !== there) return;
    session.webllm = undefined;
    session.lostInWebllm = record;
  });
  return there;
}

/** Where the GPU was lost while nothing was asked, whoever asks next takes the model back, out of the files that are kept. As the job that is running. */
export async function backInWebllm(session: Session, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<void> {
  const { webllm: there, lostInWebllm } = session;
  if (there === undefined && lostInWebllm !== undefined) await bringIntoWebllm(session, lostInWebllm, onProgress, signal);
}

export async function unloadWebllm(session: Session): Promise<void> {
  await exclusive(session, { kind: 'deleting', what: 'a model is leaving web-llm' }, async () => {
    session.lostInWebllm = undefined;
    await leave(session);
  });
}

const statusIn = ({ record, loaded, plan }: InWebllm): WebllmStatus => ({ modelId: record.id, context: loaded.context, bytes: plan.total });

export function runtimeStatus({ webllm: there, left }: Session): RuntimeStatus {
  return { ...(there === undefined ? {} : { webllm: statusIn(there) }), ...(left === undefined ? {} : { left }) };
}

/** The model in web-llm. Base and trained weights belong to one model; words go with any. @throws 'webllm/not-loaded', 'model/other' */
export function needWebllm({ webllm: there }: Session, owner?: { readonly modelId: string; readonly name: string }): InWebllm {
  if (there === undefined) throw new AppError('webllm/not-loaded', 'No model is loaded in web-llm.', { fix: 'Load a model there first.' });
  if (owner === undefined || owner.modelId === there.record.id) return there;
  throw new AppError('model/other', `${owner.name} was made with another model than ${there.record.name}, which is in web-llm.`, {
    why: 'Trained weights fit the one model that they were trained on.',
    fix: 'Load its own model, or train again with this one.',
    facts: { needed: owner.modelId, loaded: there.record.id },
  });
}

/** One answer. A worker that is of no use any more is ended. @throws 'webllm/...', 'gpu/lost' */
export async function generateInWebllm(
  session: Session,
  prompt: Uint32Array,
  sampling: WebllmSampling,
  onToken: (id: number) => void,
  signal: AbortSignal,
): Promise<WebllmEnd> {
  const { api } = needWebllm(session);
  try {
    return await api.generate(prompt, sampling, onToken, signal);
  } catch (error) {
    if (error instanceof AppError && DEAD.has(error.code)) {
      session.webllm = undefined;
      endWebllm();
    }
    throw error;
  }
}

/** web-llm as the runner asks for answers: one row at a time, the stop token at the end of a row as our engine has it. */
export function webllmAnswerer(session: Session): Answerer {
  const { loaded } = needWebllm(session);
  return {
    config: { context: loaded.context },
    async *generateMany(prompts, options, _patch, signal = new AbortController().signal) {
      const { temperature, topK, topP, seed, maxTokens, stopIds } = options;
      for (const [row, prompt] of prompts.entries()) {
        if (signal.aborted) return;
        const ids: number[] = [];
        const sampling = { temperature, topK, topP, seed, maxTokens, stops: stopIds };
        const end = await generateInWebllm(session, prompt, sampling, (id) => ids.push(id), signal);
        if (end === 'aborted') return;
        if (end === 'stop' && stopIds[0] !== undefined) ids.push(stopIds[0]);
        yield { row, tokens: Uint32Array.from(ids) };
      }
    },
  };
}
