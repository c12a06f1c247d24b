// One reply: a contestant's words around the conversation, its weights at a strength, text as it comes.
import type { Sampling } from '../../src/engine/types.ts';
import type { Runtime } from '../../src/experiments/types.ts';
import { AppError } from '../../src/lib/error.ts';
import { composeMessages } from '../../src/methods/compose.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import type { ChatReply, ChatRequest, Progress } from '../../src/rpc/contract.ts';
import { needContestant } from '../../src/storage/customizations.ts';
import { updateModel } from '../../src/storage/models.ts';
import { patchOf } from './adapters.ts';
import { exclusive, needLoaded, ownPlace, type Session } from './session.ts';
import { createTextStream } from './text-stream.ts';
import { tuneWhenIdle } from './tuning.ts';

/** Chats wait for one another; for anything else on the GPU they do not. After an abort the reply is what was written. @throws 'engine/busy', 'text/too-long' */
export function chat(
  session: Session,
  request: ChatRequest,
  onText: (piece: string) => void,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void = () => undefined,
): Promise<ChatReply> {
  const next = session.chats.then(() =>
    exclusive(session, { kind: 'answering', what: 'a reply is being written' }, () => reply(session, request, onText, signal, onProgress)),
  );
  session.chats = next.catch(() => undefined);
  void next.then(
    () => tuneWhenIdle(session),
    () => undefined, // whoever asked is told
  );
  return next;
}

async function reply(
  session: Session,
  request: ChatRequest,
  onText: (piece: string) => void,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<ChatReply> {
  const contestant = request.contestantId === undefined ? undefined : await needContestant(request.contestantId);
  const inWebllm = request.runtime === 'webllm' ? await import('./webllm-answers.ts') : undefined;
  const place = await inWebllm?.placeOf(session, contestant, request.strength, onProgress, signal);
  const runtime: Runtime = place?.runtime ?? 'engine';
  const patch = contestant === undefined || runtime === 'webllm' ? undefined : await patchOf(session, contestant, request.strength);
  const { record, renderer, tokenizer, context } = place ?? ownPlace(session);
  const prompt = await renderer.prompt(composeMessages(contestant?.prompt ?? emptyPrompt, request.messages));
  const room = Math.max(0, context - prompt.length);
  const { temperature, topK, topP, seed } = request;
  const sampling: Sampling = { maxTokens: request.maxTokens, stopIds: renderer.stopIds, temperature, topK, topP, seed };
  const stops = new Set(renderer.stopIds);
  const stream = createTextStream(tokenizer);
  const started = performance.now();
  let first = 0;
  let replyTokens = 0;
  let stopped = false;
  const take = (id: number): void => {
    if (replyTokens++ === 0) first = (performance.now() - started) / 1000;
    stopped = stops.has(id);
    const piece = stopped ? '' : stream.push(id);
    if (piece !== '') onText(piece);
  };
  if (inWebllm !== undefined && runtime === 'webllm') await inWebllm.generate(session, prompt, sampling, take, signal);
  else {
    for await (const id of needLoaded(session).engine.generate(prompt, sampling, patch, signal)) {
      take(id);
      if (stopped) break;
    }
  }
  const rest = stream.end();
  if (rest !== '') onText(rest);
  const seconds = (performance.now() - started) / 1000;
  // The first token waits for the whole prompt; the rate is that of the others.
  const tokensPerSecond = replyTokens > 1 && seconds > first ? (replyTokens - 1) / (seconds - first) : 0;
  if (replyTokens >= TELLING_TOKENS) await rememberSpeed(record.id, runtime, tokensPerSecond);
  return {
    text: stream.text,
    promptTokens: prompt.length,
    replyTokens,
    tokensPerSecond,
    firstTokenSeconds: first,
    runtime,
    ...(place?.instead === undefined ? {} : { instead: place.instead }),
    end: stopped ? 'stop-token' : signal.aborted ? 'stopped' : replyTokens >= room ? 'context' : 'longest',
  };
}

/** Shorter answers say more of the start than of the rate. */
const TELLING_TOKENS = 8;
async function rememberSpeed(modelId: string, runtime: Runtime, tokensPerSecond: number): Promise<void> {
  await updateModel(modelId, (model) => ({ ...model, speeds: { ...model.speeds, [runtime]: tokensPerSecond } })).catch((error: unknown) => {
    // Deleted meanwhile: there is nothing to remember it by.
    if (!(error instanceof AppError) || error.code !== 'model/missing') throw error;
  });
}
