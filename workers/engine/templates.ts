// Renders chat templates in a worker that is ended when one does not come to an end.
import { AppError } from '../../src/lib/error.ts';
import type { TemplateApi } from '../../src/rpc/contract.ts';
import type { Connection } from '../../src/rpc/rpc.ts';
import type { TemplateRenderer } from '../../src/text/types.ts';

/** An honest template takes a few milliseconds (reliability.md section 3, row 10). */
export const RENDER_MS = 500;
const MEMOIZED = 4096;
/** After these a worker is of no use. */
const ENDED = new Set(['template/timeout', 'app/part-missing']);

export interface TemplateWorker {
  readonly connection: Connection<TemplateApi>;
  terminate(): void;
}

/** @param start starts a fresh worker; called again after one was ended */
export function createTemplateRenderer(start: () => TemplateWorker, limitMs = RENDER_MS): Required<TemplateRenderer> {
  let worker: TemplateWorker | undefined;
  const rendered = new Map<string, string>();
  // One after the other, so that a limit is the time of one render and not of those before it.
  let last: Promise<unknown> = Promise.resolve();

  /** A worker that is of no use any more goes; the next render starts another one. */
  function look(used: TemplateWorker, error: unknown): void {
    if (!(error instanceof AppError) || !ENDED.has(error.code)) return;
    used.terminate();
    used.connection.end(error);
    if (worker === used) worker = undefined;
  }
  async function render(source: string, context: Parameters<TemplateRenderer['render']>[1]): Promise<string> {
    worker ??= start();
    const used = worker;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      await used.connection.api.ready();
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(timeout(limitMs)), limitMs);
      });
      return await Promise.race([used.connection.api.render(source, context), late]);
    } catch (error) {
      look(used, error);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    async ready() {
      worker ??= start();
      const used = worker;
      await used.connection.api.ready().catch((error: unknown) => {
        look(used, error);
        throw error;
      });
    },
    render(source, context) {
      const key = JSON.stringify([source, context]);
      const known = rendered.get(key);
      if (known !== undefined) return Promise.resolve(known);
      const next = last.then(() => render(source, context));
      last = next.catch(() => undefined);
      return next.then((text) => {
        if (rendered.size >= MEMOIZED) rendered.clear();
        rendered.set(key, text);
        return text;
      });
    },
  };
}

function timeout(limitMs: number): AppError {
  return new AppError('template/timeout', `The chat template of this model did not come to an end within ${limitMs} ms.`, {
    why: 'A chat template is a small program that comes with the model. This one runs for ever, or far too long.',
    fix: 'Choose another model, or replace the chat template in its files.',
    facts: { limitMs },
  });
}
