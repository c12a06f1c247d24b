// A run's record while it goes on: kept in memory, written every few seconds, and told to the screen at once.
import type { Run } from '../../src/experiments/types.ts';
import type { FitEvent } from '../../src/rpc/contract.ts';
import { saveRun } from '../../src/storage/runs.ts';
import type { BlobRef, RunRecord } from '../../src/storage/types.ts';

const SAVE_MS = 3000;
const TOKENS_PER_SECOND = 'tokens/s';

export interface RunLog {
  readonly record: RunRecord;
  progress(step: number, steps: number): void;
  report(step: number, name: string, value: number): void;
  sample(step: number, name: string, text: string): void;
  best(step: number, score: number): void;
  note(code: string, text: string): void;
  /** A state is safe on the disk: it becomes the run's head, and this resolves when that is on the disk too. */
  head(file: BlobRef & { readonly name: string }): Promise<void>;
  /** The last words; the head is let go of, unless the run failed without a contestant. */
  end(status: Run['status'], rest: Partial<Pick<RunRecord, 'contestantId' | 'error' | 'cost'>>): Promise<RunRecord>;
}

export function createRunLog(begun: RunRecord, onEvent: (event: FitEvent) => void): RunLog {
  let record = begun;
  const curves = new Map<string, { step: number; value: number }[]>();
  const samples: { step: number; name: string; text: string }[] = [];
  let saving: Promise<void> = Promise.resolve();
  let failure: unknown;
  let savedAt = performance.now();
  let begunAt = 0;
  let firstStep: number | undefined;
  let speed = 0;

  const current = (): RunRecord => ({
    ...record,
    curves: Object.fromEntries([...curves].map(([name, points]) => [name, [...points]])),
    samples: [...samples],
  });
  /** One write after the other: an older state must not overtake a newer one. */
  const write = (durability: 'strict' | 'relaxed'): Promise<void> => {
    const snapshot = current();
    savedAt = performance.now();
    const next = saving.then(() => saveRun(snapshot, durability));
    saving = next.catch((error: unknown) => {
      failure ??= error;
    });
    return next;
  };
  const sometimes = (): void => {
    if (performance.now() - savedAt > SAVE_MS) void write('relaxed').catch(() => undefined); // kept in `failure`
  };

  return {
    get record() {
      return record;
    },
    progress(step, steps) {
      if (firstStep === undefined) {
        firstStep = step;
        begunAt = performance.now();
        onEvent({ kind: 'started', runId: record.id, steps });
      }
      record = { ...record, step, steps };
      const made = step - firstStep;
      const seconds = (performance.now() - begunAt) / 1000;
      const secondsLeft = made > 0 ? ((steps - step) * seconds) / made : 0;
      onEvent({ kind: 'progress', step, steps, tokensPerSecond: speed, secondsLeft });
      sometimes();
    },
    report(step, name, value) {
      const points = curves.get(name) ?? [];
      // After a rolled-back step its points come again.
      while (points.length > 0 && (points.at(-1)?.step ?? -1) >= step) points.pop();
      points.push({ step, value });
      curves.set(name, points);
      if (name === TOKENS_PER_SECOND) speed = speed === 0 ? value : 0.8 * speed + 0.2 * value;
      onEvent({ kind: 'point', step, name, value });
    },
    sample(step, name, text) {
      // Kept are the first answer, the one of the best state, and the newest.
      const old = samples.findIndex((sample) => sample.name === name && sample.step > 0 && sample.step !== record.best?.step);
      if (old >= 0) samples.splice(old, 1);
      samples.push({ step, name, text });
      onEvent({ kind: 'sample', step, name, text });
    },
    best(step, score) {
      record = { ...record, best: { step, score } };
      onEvent({ kind: 'best', step, score });
    },
    note(code, text) {
      record = { ...record, notes: [...(record.notes ?? []), { code, text }] };
      onEvent({ kind: 'note', code, text });
    },
    head(file) {
      record = { ...record, checkpoint: file };
      return write('strict');
    },
    async end(status, rest) {
      const { checkpoint: _head, ...kept } = record;
      record = { ...kept, ...rest, status };
      await write('strict');
      if (failure !== undefined) throw failure;
      return current();
    },
  };
}
