// LoRA inside web-llm, unmerged. Before the first one a self-test asks whether adapters there give what our engine gives; its answer is remembered for this
// library, version, browser and device. Where they do not, the adapter runs in our engine, and whoever asked is told which and why.
import * as v from 'valibot';
import type { StoragePlan } from '../../src/engine/types.ts';
import { peft } from '../../src/formats/peft.ts';
import type { PortableAdapter } from '../../src/formats/types.ts';
import { AppError } from '../../src/lib/error.ts';
import type { Progress } from '../../src/rpc/contract.ts';
import type { WebllmAdapter, WebllmSelfTest, WebllmSelfTestPlan } from '../../src/runtimes/types.ts';
import { needAdapter } from '../../src/storage/customizations.ts';
import { readSetting, saveSetting } from '../../src/storage/settings.ts';
import type { ContestantRecord, ModelRecord } from '../../src/storage/types.ts';
import { adapterFiles, partsOf, scaleOf } from './adapters.ts';
import { bringOntoGpu, storageChoices } from './models.ts';
import { type Loaded, type Session, unload } from './session.ts';
import { bringIntoWebllm, needWebllm } from './webllm.ts';

/** Adapters kept in web-llm besides the one in use. */
const ADAPTERS_KEPT = 8;

/** Why something ran in our engine that was asked for in web-llm. */
export interface Instead {
  readonly code: string;
  readonly text: string;
}

/** Makes web-llm answer as this contestant does, or says why it cannot: then nothing of it is in use there.
 *  @throws 'webllm/not-loaded', 'model/other', AbortError, and what our engine throws while it makes the logits of the self-test */
export async function useInWebllm(
  session: Session,
  contestant: ContestantRecord | undefined,
  strength: number,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<Instead | undefined> {
  const { adapterId } = contestant ?? {};
  if (contestant === undefined || adapterId === undefined) {
    needWebllm(session, contestant?.method === 'prompt' ? undefined : contestant);
    const { api, adapters } = needWebllm(session);
    if (adapters.size > 0) await api.useAdapters([]);
    return undefined;
  }
  const { record } = needWebllm(session, contestant);
  try {
    const failed = await selfTestFailure(session, record, onProgress, signal);
    if (failed !== undefined) return failed;
    const { api, adapters } = needWebllm(session, contestant);
    if (!adapters.delete(adapterId)) {
      const adapter = peft.read(await adapterFiles(await needAdapter(adapterId)), record.config);
      await api.addAdapter(adapterId, factorsOf(record.id, adapter));
    }
    adapters.add(adapterId);
    await api.useAdapters([{ id: adapterId, strength }]);
    for (const old of adapters) {
      if (adapters.size <= ADAPTERS_KEPT) break;
      adapters.delete(old);
      await api.removeAdapter(old);
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof AppError) || !/^webllm\/(adapter-|unknown-kernel)/.test(error.code)) throw error;
    return { code: error.code, text: error.message };
  }
}

/** An adapter as web-llm's worker takes it. */
export function factorsOf(base: string, adapter: PortableAdapter): WebllmAdapter {
  return {
    base,
    factors: adapter.modules.map((lora) => ({
      module: lora.module,
      rank: lora.rank,
      a: new Float32Array(lora.A),
      b: new Float32Array(lora.B),
      scale: scaleOf(lora, adapter.rsLora),
    })),
  };
}

const Remembered = v.pipe(v.string(), v.parseJson(), v.object({ ok: v.boolean(), text: v.string() }));

async function selfTestFailure(
  session: Session,
  record: ModelRecord,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<Instead | undefined> {
  const key = `web-llm adapters: ${await needWebllm(session).api.selfTestKey()}`;
  const known = v.safeParse(Remembered, await readSetting(key));
  const result = known.success ? known.output : verdictOf(await runSelfTest(session, record, onProgress, signal));
  if (!known.success) await saveSetting(key, JSON.stringify(result));
  return result.ok ? undefined : { code: 'webllm/self-test', text: result.text };
}

/** What of it a person is told. */
export function verdictOf(test: WebllmSelfTest): { readonly ok: boolean; readonly text: string } {
  if (test.ok) return { ok: true, text: '' };
  if (test.unknown !== undefined) {
    return { ok: false, text: `a kernel of this library cannot be read (${test.unknown.kernel}: ${test.unknown.why})` };
  }
  const failed = test.checks.find((check) => !check.ok);
  const numbers = failed === undefined ? '' : ` (${failed.name}: ${failed.found.toPrecision(2)}, allowed ${failed.allowed.toPrecision(2)})`;
  return { ok: false, text: `adapters inside web-llm do not give what our engine gives on this device${numbers}` };
}

/** Random factors on all linears, in both runtimes: our engine's logits are what web-llm's are held against. */
async function runSelfTest(
  session: Session,
  record: ModelRecord,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<WebllmSelfTest> {
  const what = 'Comparing adapters in both runtimes, once for this device';
  const tell = (done: number): void => onProgress({ what, done, total: 2, unit: 'steps' });
  tell(0);
  const plan = await needWebllm(session).api.selfTestPlan();
  const logits = await referenceLogits(session, record, plan, signal);
  tell(1);
  // Where both did not fit, our engine made web-llm leave.
  const { api } = session.webllm ?? (await bringIntoWebllm(session, record, onProgress, signal));
  const result = await api.selfTest(logits, signal);
  tell(2);
  return result;
}

async function referenceLogits(
  session: Session,
  record: ModelRecord,
  { adapter, cases }: WebllmSelfTestPlan,
  signal: AbortSignal,
): Promise<Float32Array[]> {
  const { loaded, onlyForThis } = await exactly(session, record, signal);
  const { engine } = loaded;
  const portable: PortableAdapter = {
    ...{ kind: 'lora', rsLora: false, dropout: 0, rank: adapter.factors[0]?.rank ?? 1, alpha: 1 },
    modules: adapter.factors.map(({ module, rank, a, b, scale }) => ({
      module: module.startsWith('model.') ? module : `model.${module}`,
      rank,
      alpha: scale * rank,
      A: a,
      B: b,
      inFeatures: a.length / rank,
      outFeatures: b.length / rank,
    })),
  };
  const patch = engine.createPatch(partsOf(portable), { trainable: false });
  try {
    const out: Float32Array[] = [];
    for (const { tokens } of cases) {
      signal.throwIfAborted();
      const all = await engine.logits(tokens, [1, tokens.length], patch);
      out.push(all.slice(-engine.config.V));
    }
    return out;
  } finally {
    engine.disposePatch(patch);
    if (onlyForThis) unload(session);
  }
}

/** Our engine with the numbers of the model's files, which are those that web-llm has. */
async function exactly(
  session: Session,
  record: ModelRecord,
  signal: AbortSignal,
): Promise<{ readonly loaded: Loaded; readonly onlyForThis: boolean }> {
  const choices = await storageChoices(record.id);
  const isExact = (storage: StoragePlan): boolean => choices.find((choice) => choice.storage === storage)?.exact === true;
  const { loaded } = session;
  if (loaded !== undefined && loaded.record.id === record.id && isExact(loaded.engine.storage)) return { loaded, onlyForThis: false };
  const storage = choices.find((choice) => choice.recommended)?.storage ?? 'as-is';
  // One that is held in other numbers is loaded again when it is next asked for.
  const made = await bringOntoGpu(session, record, storage, () => undefined, signal);
  return { loaded: made, onlyForThis: storage !== record.storage };
}
