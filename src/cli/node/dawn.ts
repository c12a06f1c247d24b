import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);
/** Dawn asks whether it is done in a loop of setImmediate as long as anything is awaited, which keeps a core busy. A software GPU needs that core: there it
 *  asks once a millisecond (20 steps of LoRA on a fixture: 10.3 s of CPU became 6.0 s). Only functions of native code are held back, and so only Dawn. */
function pollSlowly(): void {
  const immediately = globalThis.setImmediate;
  const later = (callback: () => void, ...args: []): unknown =>
    args.length === 0 && Function.prototype.toString.call(callback).includes('[native code]')
      ? setTimeout(callback, 1)
      : immediately(callback, ...args);
  Object.assign(globalThis, { setImmediate: Object.assign(later, immediately) });
}
if (process.env.VK_ICD_FILENAMES?.includes('swiftshader')) pollSlowly();

const holder: { dawn?: GPU } = {};

/** The one Dawn instance of this process; it stays reachable, or Dawn aborts the process when it is collected. `DAWN_OPTIONS` is a list of Dawn's own
 *  options, one a line (such as `enable-dawn-features=...`). The environment of environment.mjs must be set before Node starts. */
export function dawn(): GPU {
  holder.dawn ??= create((process.env.DAWN_OPTIONS ?? '').split('\n').filter((option) => option !== ''));
  return holder.dawn;
}
