import { engine } from '../../client/engine-client.ts';
import type { ModelStatus } from '../../rpc/contract.ts';
import { onChange } from '../../storage/changes.ts';
import { listModels } from '../../storage/models.ts';
import type { ModelRecord } from '../../storage/types.ts';
import { job } from './job.svelte.ts';
import { live } from './live.svelte.ts';
import { tasks } from './tasks.svelte.ts';

/** The models on this device, and the one on the GPU. */
class ModelsState {
  list = $state.raw<readonly ModelRecord[]>([]);
  status = $state.raw<ModelStatus | undefined>();
  ready = $state(false);
  /** The model on the GPU. */
  current = $derived(this.list.find((model) => model.id === this.status?.modelId));
  /** The model of the task that is shown, loaded or not. */
  ofTask = $derived(this.list.find((model) => model.id === tasks.current?.modelId));

  async start(): Promise<void> {
    await this.refresh();
    onChange(({ store }) => {
      if (store === 'models' || store === 'all') void this.refresh().catch((error: unknown) => live.fail(error));
    });
    this.ready = true;
  }
  async refresh(): Promise<void> {
    this.list = (await listModels()).toSorted((a, b) => b.addedAt - a.addedAt);
  }
  async refreshStatus(): Promise<void> {
    this.status = await engine().modelStatus();
  }
  /** Puts a model on the GPU, unless it is there already. Resolves with false when the person stopped it. */
  async use(modelId: string): Promise<boolean> {
    if (this.status?.modelId === modelId) return true;
    const name = this.list.find((model) => model.id === modelId)?.name ?? 'the model';
    const status = await job.run({ kind: 'loading', name, href: '#/models', stopLabel: 'Stop loading' }, (signal, onProgress) =>
      engine().loadModel(modelId, onProgress, signal),
    );
    await this.refreshStatus();
    return status !== undefined;
  }
  async release(): Promise<void> {
    await engine().unloadModel();
    await this.refreshStatus();
  }
}

export const models = new ModelsState();
