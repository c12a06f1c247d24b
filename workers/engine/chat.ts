// One reply: a contestant's words around the conversation, its weights at a strength, text as it comes.
import type { Sampling } from '../../src/engine/types.ts';
import { composeMessages } from '../../src/methods/compose.ts';
import { emptyPrompt } from '../../src/methods/types.ts';
import type { ChatReply, ChatRequest } from '../../src/rpc/contract.ts';
import { needContestant } from '../../src/storage/customizations.ts';
import { patchOf } from './adapters.ts';
import { exclusive, needLoaded, type Session } from './session.ts';
import { createTextStream } from './text-stream.ts';
import { tuneWhenIdle } from './tuning.ts';

/** Chats wait for one another; for anything else on the GPU they do not. After an abort the reply is what was written. @throws 'engine/busy', 'text/too-long' */
export function chat(session: Session, request: ChatRequest, onText: (piece: string) => void, signal: AbortSignal): Promise<ChatReply> {
  const next = session.chats.then(() =>
    exclusive(session, { kind: 'answering', what: 'a reply is being written' }, () => reply(session, request, onText, signal)),
  );
  session.chats = next.catch(() => undefined);
  void next.then(
    () => tuneWhenIdle(session),
    () => undefined, // whoever asked is told
  );
  return next;
}

async function reply(session: Session, request: ChatRequest, onText: (piece: string) => void, signal: AbortSignal): Promise<ChatReply> {
  const contestant = request.contestantId === undefined ? undefined : await needContestant(request.contestantId);
  const patch = contestant === undefined ? undefined : await patchOf(session, contestant, request.strength);
  const { engine, renderer, tokenizer } = needLoaded(session);
  const prompt = await renderer.prompt(composeMessages(contestant?.prompt ?? emptyPrompt, request.messages));
  const room = Math.max(0, engine.config.context - prompt.length);
  const { temperature, topK, topP, seed } = request;
  const sampling: Sampling = { maxTokens: request.maxTokens, stopIds: renderer.stopIds, temperature, topK, topP, seed };
  const stops = new Set(renderer.stopIds);
  const stream = createTextStream(tokenizer);
  const started = performance.now();
  let first = 0;
  let replyTokens = 0;
  let stopped = false;
  for await (const id of engine.generate(prompt, sampling, patch, signal)) {
    if (replyTokens++ === 0) first = (performance.now() - started) / 1000;
    if (stops.has(id)) {
      stopped = true;
      break;
    }
    const piece = stream.push(id);
    if (piece !== '') onText(piece);
  }
  const rest = stream.end();
  if (rest !== '') onText(rest);
  const seconds = (performance.now() - started) / 1000;
  return {
    text: stream.text,
    promptTokens: prompt.length,
    replyTokens,
    // The first token waits for the whole prompt; the rate is that of the others.
    tokensPerSecond: replyTokens > 1 && seconds > first ? (replyTokens - 1) / (seconds - first) : 0,
    firstTokenSeconds: first,
    end: stopped ? 'stop-token' : signal.aborted ? 'stopped' : replyTokens >= room ? 'context' : 'longest',
  };
}
