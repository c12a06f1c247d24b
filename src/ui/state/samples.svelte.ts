import { engine } from '../../client/engine-client.ts';
import { type AppError, asAppError } from '../../lib/error.ts';
import { fetchSample } from '../../storage/download.ts';
import { models } from './models.svelte.ts';
import { tasks } from './tasks.svelte.ts';

/** A set of rows of our own writing that lies beside the page. */
export interface Sample {
  readonly name: string;
  /** One sentence: what goes in, what comes out. */
  readonly description: string;
  readonly path: string;
  readonly rows: number;
}

class SamplesState {
  list = $state.raw<readonly Sample[]>([]);
  error = $state.raw<AppError | undefined>();
  busy = $state(false);
  #asked = false;

  async load(): Promise<void> {
    if (this.#asked) return;
    this.#asked = true;
    try {
      this.list = samplesOf(JSON.parse(await fetchSample('samples/index.json')));
    } catch (error) {
      this.#asked = false;
      this.error = asAppError(error);
    }
  }
  /** Makes a task of the sample's rows and shows it. */
  async use(sample: Sample): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    try {
      const { examples } = await engine().importData(await fetchSample(sample.path), sample.path.split('/').at(-1));
      const { type, metricId, shares } = await engine().propose(examples);
      const modelId = models.status?.modelId ?? models.list[0]?.id;
      await tasks.create({
        name: sample.name,
        type,
        metricId,
        shares,
        seed: 7,
        rows: examples,
        ...(modelId === undefined ? {} : { modelId }),
        source: { fileName: sample.path, read: examples.length, leftOut: 0 },
      });
      this.error = undefined;
    } catch (error) {
      this.error = asAppError(error);
    } finally {
      this.busy = false;
    }
  }
}

/** What index.json holds: a list, or an object with one under `samples`; each entry's file is named relative to `samples/`. */
function samplesOf(value: unknown): readonly Sample[] {
  const list: unknown = Array.isArray(value) ? value : field(value, 'samples');
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry) => {
    const file = field(entry, 'file');
    const name = field(entry, 'name');
    const description = field(entry, 'description');
    const rows = field(entry, 'rows');
    if (typeof file !== 'string' || typeof name !== 'string') return [];
    return [
      {
        name,
        path: `samples/${file}`,
        description: typeof description === 'string' ? description : '',
        rows: typeof rows === 'number' ? rows : 0,
      },
    ];
  });
}
function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

export const samples = new SamplesState();
