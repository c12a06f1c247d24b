// Which kernels suit this device is measured once, when nobody waits for anything, and remembered under the device's name.
import * as v from 'valibot';
import type { Gpu } from '../../src/engine/device.ts';
import type { Tuning } from '../../src/engine/types.ts';
import { readSetting, saveSetting } from '../../src/storage/settings.ts';
import type { Session } from './session.ts';

/** Several answers may be asked for at once, and a person reads the first one before anything else happens. */
const IDLE_MS = 500;

const schema = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({ device: v.string(), kernels: v.string(), chosen: v.record(v.string(), v.string()) }),
);
const keyOf = (device: string): string => `kernels on ${device}`;

/** What was measured on this device; undefined where nothing was, or not in this form. */
export async function rememberedTuning({ name }: Pick<Gpu, 'name'>): Promise<Tuning | undefined> {
  const kept = v.safeParse(schema, await readSetting(keyOf(name)));
  return kept.success ? kept.output : undefined;
}

/** After an answer: measures, where this device with these kernels has not been measured yet. Whatever is asked of the engine meanwhile ends it, and the next
 *  answer begins again. */
export async function tuneWhenIdle(session: Session): Promise<void> {
  const { loaded } = session;
  if (loaded === undefined || loaded.engine.tuning !== undefined || session.tuning) return;
  session.tuning = true;
  try {
    await new Promise<void>((resolve) => {
      setTimeout(resolve, IDLE_MS);
    });
    const busy = (): boolean => session.job !== undefined || session.loaded !== loaded;
    if (busy()) return;
    const tuning = await loaded.engine.tune(busy);
    if (tuning !== undefined) await saveSetting(keyOf(tuning.device), JSON.stringify(tuning));
  } catch {
    // Nobody asked for it: a lost device is said to whoever uses it next, and what cannot be saved is measured again.
  } finally {
    session.tuning = false;
  }
}
