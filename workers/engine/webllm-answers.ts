// Who answers for a contestant that was asked for in web-llm: web-llm, or our engine where its adapter cannot run there.
import type { Sampling } from '../../src/engine/types.ts';
import type { Progress } from '../../src/rpc/contract.ts';
import type { ContestantRecord } from '../../src/storage/types.ts';
import { bringOntoGpu } from './models.ts';
import { ownPlace, type Place, type Session } from './session.ts';
import { backInWebllm, generateInWebllm, needWebllm } from './webllm.ts';
import { useInWebllm } from './webllm-adapters.ts';

/** The contestant's adapter is in use afterwards, at this strength, in the runtime that this names. As the job that is running. */
export async function placeOf(
  session: Session,
  contestant: ContestantRecord | undefined,
  strength: number,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<Place> {
  await backInWebllm(session, onProgress, signal);
  const instead = await useInWebllm(session, contestant, strength, onProgress, signal);
  const { record } = needWebllm(session);
  if (instead === undefined) {
    const { renderer, tokenizer, loaded } = needWebllm(session);
    return { runtime: 'webllm', record, renderer, tokenizer, context: loaded.context };
  }
  if (session.loaded?.record.id !== record.id) await bringOntoGpu(session, record, record.storage, onProgress, signal);
  return { ...ownPlace(session), instead };
}

/** As our engine gives ids: the stop token comes last. */
export async function generate(
  session: Session,
  prompt: Uint32Array,
  { stopIds, temperature, topK, topP, seed, maxTokens }: Sampling,
  onToken: (id: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const sampling = { temperature, topK, topP, seed, maxTokens, stops: stopIds };
  const end = await generateInWebllm(session, prompt, sampling, onToken, signal);
  const [stop] = stopIds;
  if (end === 'stop' && stop !== undefined) onToken(stop);
}
