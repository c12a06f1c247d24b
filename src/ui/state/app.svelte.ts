import { engine, onEngineEvent } from '../../client/engine-client.ts';
import { AppError } from '../../lib/error.ts';
import type { MethodDeclaration } from '../../methods/types.ts';
import type { MetricDeclaration } from '../../metrics/types.ts';
import type { DeviceReport } from '../../rpc/contract.ts';
import { onStorageProblem } from '../../storage/schema.ts';
import { live } from './live.svelte.ts';
import { models } from './models.svelte.ts';
import { tasks } from './tasks.svelte.ts';

/** What the whole page knows: the device, what the engine can do, and whether anything left this origin. */
class AppState {
  device = $state.raw<DeviceReport | undefined>();
  /** Why nothing can be measured or trained here; undefined where there is a GPU, or while that is not known. */
  noGpu = $derived(
    this.device?.available === false
      ? new AppError('gpu/unavailable', 'This browser gives this page no access to a GPU.', {
          why: this.device.why ?? '',
          fix: this.device.fix ?? '',
        })
      : undefined,
  );
  methods = $state.raw<readonly MethodDeclaration[]>([]);
  metrics = $state.raw<readonly MetricDeclaration[]>([]);
  /** Requests of this page to another origin, as the browser counted them. The policy forbids them; this shows that it holds. */
  foreignRequests = $state(0);
  /** The device's records have been read. */
  ready = $derived(tasks.ready && models.ready);
  #started = false;

  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#watchRequests();
    onEngineEvent(({ kind, error }) => {
      models.status = undefined;
      live.fail(error);
      // A new worker may get another device, or none: what the screens offer follows what there is now.
      if (kind === 'restarted') void this.#askEngine().catch((cause: unknown) => live.fail(cause));
      else this.device = { available: false, name: '', software: false, maxBufferBytes: 0, why: error.why, fix: error.fix };
    });
    // A second tab with another version of this page: said for as long as it lasts.
    onStorageProblem((problem) => (problem === undefined ? live.clear() : live.fail(problem)));
    void Promise.all([tasks.start(), models.start()]).catch((error: unknown) => live.fail(error));
    void this.#askEngine().catch((error: unknown) => live.fail(error));
  }
  metric(id: string): MetricDeclaration | undefined {
    return this.metrics.find((metric) => metric.id === id);
  }

  async #askEngine(): Promise<void> {
    const api = engine();
    [this.methods, this.metrics] = await Promise.all([api.methods(), api.metrics()]);
    this.device = await api.device();
    await models.refreshStatus();
  }
  #watchRequests(): void {
    const foreign = (entry: PerformanceEntry) =>
      URL.canParse(entry.name) && /^(https?|wss?):/.test(entry.name) && new URL(entry.name).origin !== location.origin;
    const observer = new PerformanceObserver((list) => {
      this.foreignRequests += list.getEntries().filter(foreign).length;
    });
    observer.observe({ type: 'resource', buffered: true });
  }
}

export const app = new AppState();
