import { readOne, write } from './schema.ts';

/** A choice the person made, by name; undefined when it was never made. */
export async function readSetting(key: string): Promise<string | number | boolean | undefined> {
  return (await readOne('settings', key))?.value;
}
export async function saveSetting(key: string, value: string | number | boolean): Promise<void> {
  await write('settings', { key, value });
}
