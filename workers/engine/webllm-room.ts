// Two models on one GPU, ours and that of web-llm: both stay where the plans of both fit, else one leaves first, and the screen says so.
import { bytes as inWords } from '../../src/lib/bytes.ts';
import { fitsBeside, SHARED_BYTES, type WebllmPlan } from '../../src/runtimes/webllm-memory.ts';
import { type Session, unload } from './session.ts';

/** Bytes of GPU memory to count on for both. No browser tells how much a GPU has; a device that names little memory of its own (below 8 GB, for everything) is
 *  taken at half of it. */
export function gpuLimit(): number | undefined {
  const gigabytes: unknown = typeof navigator === 'undefined' ? undefined : Reflect.get(navigator, 'deviceMemory');
  return typeof gigabytes === 'number' && gigabytes < 8 ? gigabytes * 0.5e9 : undefined;
}
const limitOfBoth = (): number => gpuLimit() ?? SHARED_BYTES;

/** Why one of them left, with the numbers. */
export function leftWords(who: 'our engine' | 'web-llm', ours: number, webllm: number, limit: number): string {
  const [left, stays] = who === 'web-llm' ? ['Web-llm', 'our engine'] : ['Our engine', 'web-llm'];
  return `${left} left the GPU for ${stays}: together they need ${inWords(ours + webllm)} (our engine ${inWords(ours)}, web-llm ${inWords(webllm)}), and ${inWords(limit)} is what is counted on for both.`;
}

/** Takes the model out of web-llm and ends its worker. */
export async function leave(session: Session): Promise<void> {
  if (session.webllm === undefined) return;
  session.webllm = undefined;
  const { leaveWebllm } = await import('./webllm-host.ts');
  // However it went, the worker has ended.
  await leaveWebllm().catch(() => undefined);
}

/** Before our engine holds `ours` bytes in all. `must`: it was tried, and the GPU had not that much. */
export async function webllmMakesRoom(session: Session, ours: number, must = false): Promise<void> {
  const { webllm } = session;
  if (webllm === undefined || (!must && fitsBeside(webllm.plan, ours, limitOfBoth()))) return;
  await leave(session);
  const limit = must ? Math.min(limitOfBoth(), ours + webllm.plan.total) : limitOfBoth();
  session.left = leftWords('web-llm', ours, webllm.plan.total, limit);
}

/** Before web-llm takes what `plan` says. */
export function engineMakesRoom(session: Session, plan: WebllmPlan): void {
  if (session.loaded === undefined) return;
  const { weights, activations, training } = session.loaded.engine.memory;
  const ours = weights + activations + training;
  if (fitsBeside(plan, ours, limitOfBoth())) return;
  unload(session);
  session.left = leftWords('our engine', ours, plan.total, limitOfBoth());
}
