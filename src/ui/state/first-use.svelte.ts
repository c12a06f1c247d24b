import { engine } from '../../client/engine-client.ts';
import { type AppError, asAppError } from '../../lib/error.ts';
import { fetchSiteFile, type SiteFile } from '../../storage/download.ts';
import type { ModelRecord } from '../../storage/types.ts';
import { remember, remembered, wasErased } from '../remembered.ts';
import { job } from './job.svelte.ts';
import { models } from './models.svelte.ts';
import { samples } from './samples.svelte.ts';
import { tasks } from './tasks.svelte.ts';

/** The model of this site, put in by the build; null where there is none in public/models. */
declare const BUNDLED_MODEL:
  | (SiteFile & {
      readonly name: string;
      readonly parameters: number;
      readonly libraries: readonly (SiteFile & { readonly schedule: string })[];
    })
  | null;

const BUNDLED = BUNDLED_MODEL;
const SHOWN_NAME = 'Vale micro';
const VISITED = 'first-use';

/** The model that comes with the site, and the first visit, which opens with it and a sample task. */
class FirstUse {
  /** The first visit is being made ready: nothing of it is on the screen yet. */
  opening = $state(false);
  error = $state.raw<AppError | undefined>();
  /** The bundled model, where it is on this device. */
  model = $derived(models.list.find((model) => this.isBundled(model)));
  readonly file = BUNDLED;

  isBundled(model: ModelRecord | undefined): boolean {
    return model?.files.some(({ sha256 }) => sha256 === BUNDLED?.sha256) === true;
  }
  /** Opens the first visit, unless this device has been here, has anything of its own, or was just emptied by this tab. Never rejects. */
  async start(): Promise<void> {
    if (BUNDLED === null || remembered(VISITED) !== undefined || wasErased()) return;
    if (tasks.list.length > 0 || models.list.some((model) => !this.isBundled(model))) {
      remember(VISITED, 'done');
      return;
    }
    await this.open();
  }
  /** The bundled model onto the GPU, and the opening sample as a task. Where one of both cannot be, the other still is. */
  async open(): Promise<void> {
    if (this.opening) return;
    this.opening = true;
    this.error = undefined;
    try {
      // Two tabs that open at once make one sample.
      await navigator.locks.request('maquette first visit', { ifAvailable: true }, async (lock) => {
        if (lock === null) return;
        const failed = (error: unknown): undefined => {
          this.error = asAppError(error);
        };
        const model = await this.fetchModel().catch(failed);
        if (model !== undefined && (await engine().device()).available) await models.use(model.id).catch(failed);
        const opened = await samples.openFirst(model?.id);
        // Without the model the next visit tries again; the sample stands.
        if (opened && model !== undefined) remember(VISITED, 'done');
      });
    } catch (error) {
      this.error = asAppError(error);
    } finally {
      this.opening = false;
    }
  }
  /** The bundled model on this device: fetched from this site, verified and kept as a model of the person's own is. @throws as fetchSiteFile, 'storage/...' */
  async fetchModel(): Promise<ModelRecord | undefined> {
    if (BUNDLED === null) return undefined;
    if (this.model !== undefined) return this.model;
    const made = await job.run(
      { kind: 'loading', name: SHOWN_NAME, href: '#/models', stopLabel: 'Stop fetching' },
      async (signal, onProgress) => {
        const what = `Fetching ${SHOWN_NAME} from this site`;
        onProgress({ what, done: 0, total: BUNDLED.bytes, unit: 'bytes' });
        const file = await fetchSiteFile(BUNDLED, (done) => onProgress({ what, done, total: BUNDLED.bytes, unit: 'bytes' }), signal);
        return engine().importModel([{ path: file.name, file }], SHOWN_NAME, 'as-is', onProgress, signal);
      },
    );
    await models.refresh();
    return made;
  }
}

export const firstUse = new FirstUse();
