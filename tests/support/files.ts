import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { memorySource } from '../../src/formats/bytes.ts';
import type { ByteSource } from '../../src/formats/types.ts';

/** Fixtures that are part of the project. */
export const FIXTURES = fileURLToPath(new URL('../fixtures', import.meta.url));
/** Fixtures kept beside the project; absent on most machines. */
export const SHARED = fileURLToPath(new URL('../../../shared/fixtures', import.meta.url));

/** Is a folder or file of ../shared/fixtures here? Where it is not, says so, for use in `describe.skipIf(!hasShared(...))`. */
export function hasShared(path: string): boolean {
  const there = existsSync(join(SHARED, path));
  if (!there) console.log(`SKIP: ../shared/fixtures/${path} is not on this machine`);
  return there;
}

export function fileBytes(path: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(path));
}

/** All files under a folder as sources, named like a browser names the files of a chosen folder: `folder/inner/file`. */
export function folderSources(folder: string): readonly ByteSource[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => memorySource(join(basename(folder), relative(folder, path)), fileBytes(path)));
}

export function fileSource(path: string): ByteSource {
  return memorySource(basename(path), fileBytes(path));
}

/** The files of one folder by bare name, as adapters are handed over. */
export function folderFiles(folder: string): ReadonlyMap<string, Uint8Array> {
  return new Map(
    readdirSync(folder)
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [name, fileBytes(join(folder, name))]),
  );
}
