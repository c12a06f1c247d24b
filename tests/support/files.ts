// Files of fixtures as the app gets them: as sources that are read by slices, or whole by name.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { memorySource } from '../../src/formats/bytes.ts';
import type { ByteSource } from '../../src/formats/types.ts';
import { fixture } from './fixtures.ts';

export function fixtureBytes(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(fixture(name)));
}

export function fixtureSource(name: string): ByteSource {
  return memorySource(basename(name), fixtureBytes(name));
}

/** The files of a fixture's folder by bare name, as adapters are handed over. */
export function fixtureFiles(name: string): ReadonlyMap<string, Uint8Array> {
  const folder = fixture(name);
  const files = readdirSync(folder).filter((file) => statSync(join(folder, file)).isFile());
  return new Map(files.map((file) => [file, new Uint8Array(readFileSync(join(folder, file)))]));
}

/** The same files as sources, named like a browser names the files of a chosen folder: `folder/file`. */
export function fixtureSources(name: string): readonly ByteSource[] {
  return [...fixtureFiles(name)].map(([file, bytes]) => memorySource(`${basename(name)}/${file}`, bytes));
}

/** A JSON fixture, unchecked. */
export function fixtureJson<T>(name: string): T {
  return JSON.parse(readFileSync(fixture(name), 'utf8'));
}

/** CPU time of this process so far, in ms: what a time limit is measured with, since other programs may share the machine. */
export function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
