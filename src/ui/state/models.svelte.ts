import { engine } from '../../client/engine-client.ts';
import type { StoragePlan } from '../../engine/types.ts';
import { AppError } from '../../lib/error.ts';
import type { ModelStatus } from '../../rpc/contract.ts';
import type { LostRecords } from '../../storage/backup.ts';
import { onChange } from '../../storage/changes.ts';
import { listModels, updateModel } from '../../storage/models.ts';
import { onUnreadable, type Unreadable, unreadableRecords } from '../../storage/restore.ts';
import type { ModelRecord } from '../../storage/types.ts';
import { job } from './job.svelte.ts';
import { live } from './live.svelte.ts';
import { tasks } from './tasks.svelte.ts';

function unreadable(all: readonly Unreadable[]): AppError {
  const count = all.length === 1 ? '1 record' : `${all.length} records`;
  return new AppError('storage/unreadable', `${count} kept on this device cannot be read. Everything else works.`, {
    why: 'Damaged, or written by a newer version of this site. Nothing was changed or deleted.',
    fix: 'On the Models screen each is listed with what is wrong; it can be saved as a file, and deleted.',
    facts: {
      records: all
        .slice(0, 5)
        .map(({ store, key }) => `${store} ${key}`)
        .join(', '),
    },
  });
}
function lostError({ tasks: t, models: m, contestants: c, madeAt }: LostRecords): AppError {
  return new AppError(
    'storage/lost',
    `The browser lost its records of this site. A copy has tasks: ${t}, models: ${m}, contestants: ${c}.`,
    {
      why: `It found its database damaged and made an empty one. The copy is of ${new Date(madeAt).toLocaleString()}; no file was deleted.`,
      fix: 'On the Models screen the copy can be put back, or given up for a fresh start.',
    },
  );
}

/** The models on this device, and the one on the GPU. */
class ModelsState {
  list = $state.raw<readonly ModelRecord[]>([]);
  status = $state.raw<ModelStatus | undefined>();
  ready = $state(false);
  /** The model on the GPU. */
  current = $derived(this.list.find((model) => model.id === this.status?.modelId));
  /** The model of the task that is shown, loaded or not. */
  ofTask = $derived(this.list.find((model) => model.id === tasks.current?.modelId));
  /** A way of holding that is being changed: whoever uses a model waits for it. */
  #changing: Promise<void> | undefined;

  async start(): Promise<void> {
    onChange(({ store }) => {
      if (store === 'models' || store === 'all') void this.refresh().catch((error: unknown) => live.fail(error));
    });
    await this.refresh();
    this.ready = true;
    onUnreadable((all) => {
      if (all.length > 0) live.fail(unreadable(all));
    });
    const known = unreadableRecords();
    if (known.length > 0) live.fail(unreadable(known));
    // An empty device may be a new one, or one whose records the browser lost.
    if (this.list.length === 0 && tasks.list.length === 0) {
      const lost = await (await import('../../storage/backup.ts')).lostRecords();
      if (lost !== undefined) live.fail(lostError(lost));
    }
  }
  async refresh(): Promise<void> {
    this.list = (await listModels()).toSorted((a, b) => b.addedAt - a.addedAt);
  }
  async refreshStatus(): Promise<void> {
    this.status = await engine().modelStatus();
  }
  /** Puts a model on the GPU, unless it is there already. Resolves with false when the person stopped it. */
  async use(modelId: string): Promise<boolean> {
    // Whether that went well is told where it was asked for.
    if (this.#changing !== undefined) await this.#changing.catch(() => undefined);
    if (this.status?.modelId === modelId) return true;
    const model = this.list.find(({ id }) => id === modelId);
    const name = model?.name ?? 'the model';
    try {
      const spec = { kind: 'loading', name, href: '#/models', stopLabel: 'Stop loading' } as const;
      const there = await job.run(spec, async (signal, onProgress) => {
        // Shown from the press on: the first bytes of a large file can take a moment.
        onProgress({ what: `Loading ${name}`, done: 0, total: model?.bytes ?? 0, unit: 'bytes' });
        await engine().loadModel(modelId, onProgress, signal);
        // Stopped after its last bytes: it is there, and nothing is begun with it.
        return !signal.aborted;
      });
      return there === true;
    } finally {
      // The model that was there has left, also for one that could not be loaded.
      await this.refreshStatus();
    }
  }
  /** Another way of holding a model from its next load on; it leaves the GPU where it is there. */
  async hold(model: ModelRecord, storage: StoragePlan): Promise<void> {
    const change = async (): Promise<void> => {
      if (this.status?.modelId === model.id) await this.release();
      await updateModel(model.id, (now) => {
        // What was measured was measured as it was held.
        const { engine: _, ...speeds } = now.speeds ?? {};
        return { ...now, storage, speeds };
      });
      await this.refresh();
    };
    this.#changing = change();
    try {
      await this.#changing;
    } finally {
      this.#changing = undefined;
    }
  }
  async release(): Promise<void> {
    await engine().unloadModel();
    await this.refreshStatus();
  }
}

export const models = new ModelsState();
