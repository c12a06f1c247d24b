// The committed model libraries are what is said beside them: how they were built, their hash, and whose work is inside.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { memorySource } from '../../src/formats/bytes.ts';
import { NEEDED_FUNCTIONS, PROVIDED_IMPORTS, readMlcLibrary } from '../../src/formats/mlc-library.ts';
import { LIBRARIES } from './kernels.ts';

test.each(Object.entries(LIBRARIES))('%s', async (name, file) => {
  const bytes = new Uint8Array(gunzipSync(readFileSync(file)));
  const said = JSON.parse(readFileSync(file.replace(/\.gz$/, '.json'), 'utf8'));
  expect(said).toMatchObject({ webllm: '0.2.86', bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
  expect(name).toContain(said.quantization);
  if (/-(software|gpu)$/.test(name)) expect(name.endsWith(said.schedule)).toBe(true);
  for (const part of ['apache-tvm', 'apache-tvm-ffi', 'apache-tvm-tirx']) expect(said.versions[part]).toMatch(/^\d+\.\d+/);
  expect(said.emscripten).toMatch(/emcc .*\d+\.\d+\.\d+/);
  expect(said.notice).toContain('Apache License 2.0');
  const licence = readFileSync(path.join(path.dirname(file), 'LICENSE'), 'utf8');
  for (const words of ['Apache License', 'Version 2.0, January 2004', 'END OF TERMS AND CONDITIONS']) expect(licence).toContain(words);
  const { metadata, imports, functions } = await readMlcLibrary(memorySource(`${name}.wasm`, bytes));
  expect(metadata.quantization).toBe(said.quantization);
  expect(imports.filter((wanted) => !PROVIDED_IMPORTS.has(wanted))).toEqual([]);
  expect(functions.size).toBe(NEEDED_FUNCTIONS.length);
});

test('no library lies there that is not looked at', () => {
  const folders = [...new Set(Object.values(LIBRARIES).map((file) => path.dirname(file)))];
  const found = folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.includes('.wasm.gz'))
      .map((name) => path.join(folder, name)),
  );
  expect(found.sort()).toEqual(Object.values(LIBRARIES).toSorted());
});
