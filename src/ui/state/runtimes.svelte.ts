import { engine, onEngineEvent } from '../../client/engine-client.ts';
import type { Runtime } from '../../experiments/types.ts';
import type { RuntimeStatus, WebllmOffer } from '../../rpc/contract.ts';
import { fetchSiteFile, type SiteFile } from '../../storage/download.ts';
import type { ModelRecord } from '../../storage/types.ts';
import { app } from './app.svelte.ts';
import { firstUse } from './first-use.svelte.ts';
import { job } from './job.svelte.ts';
import { models } from './models.svelte.ts';

/** Which runtimes a model can run in, and what is in web-llm now. Nothing of web-llm is loaded before someone asks for it. */
class RuntimesState {
  status = $state.raw<RuntimeStatus>({});
  offers = $state.raw<ReadonlyMap<string, WebllmOffer>>(new Map());

  constructor() {
    // With the engine's worker went that of web-llm, which it had started.
    onEngineEvent(() => {
      this.status = {};
    });
  }
  /** Shards and library are on this device. */
  isReady(model: ModelRecord | undefined): boolean {
    return model?.webllm !== undefined || (model?.format === 'mlc' && model.files.some(({ name }) => name.endsWith('.wasm')));
  }
  /** The library that lies beside the page: for software GPUs one thread an output, for real ones tiled. */
  siteLibrary(model: ModelRecord | undefined): SiteFile | undefined {
    if (!firstUse.isBundled(model)) return undefined;
    const schedule = app.device?.software === true ? 'software' : 'gpu';
    return firstUse.file?.libraries.find((library) => library.schedule === schedule);
  }
  /** It runs in web-llm as it is here, or after files of this site alone. */
  canRun(model: ModelRecord | undefined): boolean {
    return this.isReady(model) || this.siteLibrary(model) !== undefined;
  }
  isIn(model: ModelRecord): boolean {
    return this.status.webllm?.modelId === model.id;
  }

  async refresh(): Promise<void> {
    [this.status] = await Promise.all([engine().runtimeStatus(), models.refreshStatus()]);
  }
  async look(model: ModelRecord): Promise<void> {
    const offer = await engine().webllmOffer(model.id);
    this.offers = new Map([...this.offers, [model.id, offer]]);
  }
  /** Puts a model into web-llm, unless it is there; what is missing for it is made first, of files of this site. Resolves with false when the person stopped it. */
  async use(modelId: string): Promise<boolean> {
    const model = models.list.find(({ id }) => id === modelId);
    if (model !== undefined && !this.isReady(model) && !(await this.prepare(model))) return false;
    if (this.status.webllm?.modelId === modelId) return true;
    const spec = {
      kind: 'loading',
      name: `${model?.name ?? 'the model'} in web-llm`,
      href: '#/models',
      stopLabel: 'Stop loading',
    } as const;
    try {
      const there = await job.run(spec, async (signal, onProgress) => {
        await engine().loadWebllm(modelId, onProgress, signal);
        return !signal.aborted;
      });
      return there === true;
    } finally {
      await this.refresh();
    }
  }
  /** The model where it is to answer. Where it is already, this takes no time in which a second press could come between. */
  async useIn(runtime: Runtime, modelId: string): Promise<boolean> {
    if (runtime === 'webllm') return this.use(modelId);
    const before = models.status?.modelId;
    const there = await models.use(modelId);
    if (before !== modelId) await this.refreshIfUsed();
    return there;
  }
  /** Web-llm may have left for what our engine did. */
  async refreshIfUsed(): Promise<void> {
    if (this.status.webllm !== undefined) await this.refresh();
  }
  /** Shards of a model that is here, and a library: one that was chosen, else that of this site. Resolves with the model that they are for. */
  async prepare(model: ModelRecord, chosen?: File): Promise<ModelRecord | undefined> {
    const spec = { kind: 'importing', name: `${model.name} for web-llm`, href: '#/models', stopLabel: 'Stop', guard: true } as const;
    const made = await job.run(spec, async (signal, onProgress) => {
      const ofSite = this.siteLibrary(model);
      const what = 'Fetching the model library from this site';
      const heard = (done: number): void => onProgress({ what, done, total: ofSite?.bytes ?? 0, unit: 'bytes' });
      const library = chosen ?? (ofSite === undefined ? undefined : await fetchSiteFile(ofSite, heard, signal, 'The library for web-llm'));
      return library === undefined
        ? undefined
        : engine().prepareWebllm(model.id, { path: library.name, file: library }, onProgress, signal);
    });
    await models.refresh();
    await this.look(models.list.find(({ id }) => id === made?.id) ?? model);
    return made;
  }
  async free(model: ModelRecord): Promise<number> {
    const freed = await engine().freeWebllm(model.id);
    await Promise.all([models.refresh(), this.refresh()]);
    await this.look(model);
    return freed;
  }
  async release(): Promise<void> {
    await engine().unloadWebllm();
    await this.refresh();
  }
}

export const runtimes = new RuntimesState();
