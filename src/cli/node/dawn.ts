import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);
const holder: { dawn?: GPU } = {};

/** The one Dawn instance of this process; it stays reachable, or Dawn aborts the process when it is collected. `DAWN_OPTIONS` is a list of Dawn's own
 *  options, one a line (such as `enable-dawn-features=...`). The environment of environment.mjs must be set before Node starts. */
export function dawn(): GPU {
  holder.dawn ??= create((process.env.DAWN_OPTIONS ?? '').split('\n').filter((option) => option !== ''));
  return holder.dawn;
}
