// The real and the messy data of ../shared/data. Where that folder is absent, the tests that read it are skipped and say so.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const DATA = path.resolve(import.meta.dirname, '../../../shared/data');

export const dataBytes = (name: string): Uint8Array => new Uint8Array(readFileSync(path.join(DATA, name)));
export function haveData(name: string): boolean {
  const there = existsSync(path.join(DATA, name));
  if (!there) console.log(`skipped: no ${name} beside this checkout (../shared/data)`);
  return there;
}
