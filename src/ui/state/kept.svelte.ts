import { AppError } from '../../lib/error.ts';
import { unreadableRecords } from '../../storage/restore.ts';
import { plural } from '../format.ts';
import { forget, remember, remembered } from '../remembered.ts';
import { live } from './live.svelte.ts';

const MARK = 'kept';

interface Mark {
  readonly tasks: number;
  readonly models: number;
  /** ms since the epoch */
  readonly at: number;
}

/**
 * What this device is known to keep, marked in local storage, which browsers clear less readily than databases and files: where the mark is there and
 * nothing else is, the browser deleted it, and that is said. Nothing that a person deleted here leaves a mark.
 */
class KeptState {
  #had = false;
  #asked = false;
  #over = false;

  /** Called with what there is whenever that changes. */
  follow(tasks: number, models: number): void {
    if (this.#over) return;
    if (tasks + models > 0) {
      this.#had = true;
      remember(MARK, JSON.stringify({ tasks, models, at: Date.now() } satisfies Mark));
    } else if (this.#had) this.forget();
    else if (!this.#asked) {
      this.#asked = true;
      const mark = readMark();
      if (mark !== undefined) void this.#say(mark);
    }
  }
  forget(): void {
    forget(MARK);
  }
  /** Everything was erased and the page is about to load again: what lists still show meanwhile is not there any more. */
  end(): void {
    this.#over = true;
    this.forget();
  }
  /** Records that cannot be read, or of which there is a copy, are said elsewhere: they are not gone. */
  async #say(mark: Mark): Promise<void> {
    const lost = await (await import('../../storage/backup.ts')).lostRecords().catch(() => undefined);
    if (lost === undefined && unreadableRecords().length === 0 && !this.#had) live.fail(cleared(mark));
  }
}

function cleared({ tasks, models, at }: Mark): AppError {
  const what = [...(tasks > 0 ? [plural(tasks, 'task')] : []), ...(models > 0 ? [plural(models, 'model')] : [])].join(' and ');
  return new AppError(
    'storage/cleared',
    `The browser deleted what was kept here: ${what}, with everything made of ${tasks + models === 1 ? 'it' : 'them'}.`,
    {
      why: `It was all there on ${new Date(at).toLocaleString()}. Browsers clear a site when space runs out or when it is not opened for weeks, and programs that tidy up do it too.`,
      fix: 'Add the files of the model again on the Models screen, and import what you exported. There the browser can also be asked to keep it from now on.',
      facts: { tasks, models },
    },
  );
}

function readMark(): Mark | undefined {
  try {
    const value: unknown = JSON.parse(remembered(MARK) ?? 'null');
    if (typeof value !== 'object' || value === null) return undefined;
    const [tasks, models, at] = ['tasks', 'models', 'at'].map((key): unknown => Reflect.get(value, key));
    if (typeof tasks !== 'number' || typeof models !== 'number' || typeof at !== 'number') return undefined;
    return tasks + models > 0 ? { tasks, models, at } : undefined;
  } catch {
    return undefined;
  }
}

export const kept = new KeptState();
