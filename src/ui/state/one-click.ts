import { engine } from '../../client/engine-client.ts';
import { emptyPrompt } from '../../methods/types.ts';
import type { TaskRecord } from '../../storage/types.ts';
import { board } from './board.svelte.ts';

/** LoRA with the settings that the Train screen has for this task, which are the defaults where nobody changed them. Scored when it is made. */
export async function trainLora(task: TaskRecord): Promise<void> {
  try {
    // What a first visit does not need is loaded when it is asked for.
    const { train } = await import('./train.svelte.ts');
    await train.open(task.id);
    train.methodId = 'lora';
    await train.start(task);
    if (train.error !== undefined) board.fail(train.error, task.id);
  } catch (cause) {
    board.fail(cause, task.id);
  }
}

/** Seconds that this would take on this device, validations apart; undefined where it cannot be told. */
export async function loraSeconds(task: TaskRecord): Promise<number | undefined> {
  const spec = { taskId: task.id, method: 'lora', config: {}, prompt: emptyPrompt, name: 'LoRA', seed: task.seed, pinned: [] };
  // Without a plan the row names no time; training itself says what stands in its way.
  const plan = await engine()
    .planFit(spec)
    .catch(() => undefined);
  return plan?.estimate.seconds;
}
