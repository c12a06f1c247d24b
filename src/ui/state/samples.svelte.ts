import { engine } from '../../client/engine-client.ts';
import { type AppError, asAppError } from '../../lib/error.ts';
import { emptyPrompt } from '../../methods/types.ts';
import { fetchSample } from '../../storage/download.ts';
import { createTask } from '../../storage/tasks.ts';
import { remember, remembered } from '../remembered.ts';
import { models } from './models.svelte.ts';
import { tasks } from './tasks.svelte.ts';

/** A set of rows that lies beside the page. */
export interface Sample {
  readonly id: string;
  readonly name: string;
  /** One sentence: what goes in, what comes out. */
  readonly description: string;
  readonly path: string;
  readonly rows: number;
  /** Made by the generator of the demo model's world, for which it is: the metric it is scored by, a system prompt to begin with, and
   *  whether the site opens with it. */
  readonly vale?: { readonly metricId: string; readonly prompt: string; readonly opening: boolean };
}
/** Remembers which task the first visit opened with. */
const OPENING = 'opening-task';
const SHOTS = 4;

class SamplesState {
  list = $state.raw<readonly Sample[]>([]);
  error = $state.raw<AppError | undefined>();
  busy = $state(false);
  /** The task that the first visit opened with. */
  openingTaskId = $state.raw(remembered(OPENING));
  #loading: Promise<void> | undefined;

  /** Never rejects. */
  load(): Promise<void> {
    this.#loading ??= this.#read().catch((error: unknown) => {
      this.#loading = undefined;
      this.error = asAppError(error);
    });
    return this.#loading;
  }
  async #read(): Promise<void> {
    const [vale, others] = await Promise.all([fetchSample('samples/vale.json'), fetchSample('samples/index.json')]);
    this.list = [...samplesOf(JSON.parse(vale)), ...samplesOf(JSON.parse(others))];
  }
  /** The sample that a first visit opens with. Resolves with whether it stands. */
  async openFirst(modelId: string | undefined): Promise<boolean> {
    const there = tasks.list.find(({ id }) => id === this.openingTaskId);
    if (there !== undefined) {
      // Opened before without its model, which is here now.
      if (modelId !== undefined && there.modelId === undefined) {
        await tasks.change(there.id, (task) => ({ ...task, modelId }));
        await engine().ensureBase(there.id);
      }
      return true;
    }
    await this.load();
    // What a person made while the model was fetched stays on the screen.
    if (this.busy || tasks.list.length > 0) return true;
    const sample = this.list.find(({ vale }) => vale?.opening === true);
    if (sample !== undefined) await this.use(sample, modelId);
    if (this.error === undefined && tasks.currentId !== undefined) {
      this.openingTaskId = tasks.currentId;
      remember(OPENING, tasks.currentId);
    }
    return sample !== undefined && this.error === undefined;
  }
  /** Makes a task of the sample's rows and shows it; those of the demo model's world come with contestants to measure. */
  async use(sample: Sample, modelId = models.status?.modelId ?? models.list[0]?.id): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    try {
      const { examples } = await engine().importData(await fetchSample(sample.path), sample.path.split('/').at(-1));
      const { type, metricId, shares } = await engine().propose(examples);
      const task = await createTask({
        name: sample.name,
        type,
        metricId: sample.vale?.metricId ?? metricId,
        shares,
        seed: 7,
        rows: examples,
        sampleId: sample.id,
        ...(modelId === undefined ? {} : { modelId }),
        source: { fileName: sample.path, read: examples.length, leftOut: 0 },
      });
      // Shown when all of it is there, so that nothing moves under the eye.
      if (sample.vale !== undefined) await declare(task.id, sample.vale.prompt, modelId);
      await tasks.refresh();
      await tasks.select(task.id);
      this.error = undefined;
    } catch (error) {
      this.error = asAppError(error);
    } finally {
      this.busy = false;
    }
  }
}

/** Base, a system prompt and shots, ready to be measured: none of them has a score before this device has made it. */
async function declare(taskId: string, system: string, modelId: string | undefined): Promise<void> {
  if (modelId !== undefined) await engine().ensureBase(taskId);
  if (system !== '') await engine().savePrompt(taskId, { ...emptyPrompt, system }, 'System prompt');
  const shots = await engine().drawShots(taskId, SHOTS, 7);
  await engine().savePrompt(taskId, { ...emptyPrompt, shots }, 'Four shots');
}

/** What a list of samples holds: each entry's file is named relative to `samples/`. */
function samplesOf(value: unknown): readonly Sample[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry) => {
    const [id, file, name, description, rows, metricId, prompt, opening] = [
      'id',
      'file',
      'name',
      'description',
      'rows',
      'metric',
      'prompt',
      'opening',
    ].map((key) => field(entry, key));
    if (typeof id !== 'string' || typeof file !== 'string' || typeof name !== 'string') return [];
    return [
      {
        id,
        name,
        path: `samples/${file}`,
        description: typeof description === 'string' ? description : '',
        rows: typeof rows === 'number' ? rows : 0,
        ...(typeof prompt === 'string' && typeof metricId === 'string' ? { vale: { metricId, prompt, opening: opening === true } } : {}),
      },
    ];
  });
}
function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

export const samples = new SamplesState();
