import { deflateSync, unzipSync, zipSync } from 'fflate';
import { expect, test } from 'vitest';
import { seededRandom } from '../../src/lib/random.ts';
import { readZip, writeZip } from '../../workers/engine/zip.ts';
import { zipBytes, zipOf } from '../../workers/engine/zip-blob.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const all = (): boolean => true;
const blob = (bytes: Uint8Array): Blob => new Blob([new Uint8Array(bytes)]);
/** Bytes that do not pack. */
const noise = (length: number): Uint8Array => {
  const random = seededRandom(7);
  return Uint8Array.from({ length }, () => random.below(256));
};
const code = (value: string) => expect.objectContaining({ code: value });

test('our archive comes back byte for byte, and is the same each time', async () => {
  const files = new Map([
    ['adapter_config.json', text('{}')],
    ['adapter_model.safetensors', Uint8Array.from({ length: 700_000 }, (_, i) => i % 253)],
  ]);
  const back = await readZip(blob(writeZip(files)), all);
  expect([...back.keys()]).toEqual([...files.keys()]);
  for (const [name, bytes] of files) expect(Buffer.compare(back.get(name) ?? new Uint8Array(), bytes)).toBe(0);
  expect(Buffer.compare(writeZip(files), writeZip(files))).toBe(0);
});

test('folders inside are ignored, other names are passed over, and no name leaves its place', async () => {
  const archive = zipSync({
    'out/adapter_config.json': text('{}'),
    'out/readme.md': text('x'),
    '../../escape.json': text('{"a":1}'),
    __proto__: text('p'),
  });
  const files = await readZip(blob(archive), (name) => name.endsWith('.json'));
  expect([...files.keys()].sort()).toEqual(['adapter_config.json', 'escape.json']);
  expect(Object.prototype).not.toHaveProperty('a');
});

test('a name that would replace a prototype is a plain name', async () => {
  // fflate's own object form loses such an entry; the bytes are made by hand.
  const archive = zipSync({ xxproto__x: text('p') });
  const renamed = replaced(archive, 'xxproto__x', '__proto__x'.slice(0, 10));
  const files = await readZip(blob(renamed), all);
  expect([...files.keys()]).toEqual(['__proto__x']);
});

test('a bomb is refused long before its size', async () => {
  const bomb = zipSync({ 'zeros.json': new Uint8Array(16_000_000) });
  expect(bomb.length).toBeLessThan(100_000);
  await expect(readZip(blob(bomb), all)).rejects.toThrowError(code('zip/refused'));
});

test('too many entries or bytes are refused', async () => {
  const many = zipSync(Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`f${i}.json`, text('{}')])));
  await expect(readZip(blob(many), all, { bytes: 1e6, entries: 20 })).rejects.toThrowError(code('zip/refused'));
  const large = zipSync({ 'a.json': [noise(5000), { level: 0 }] });
  await expect(readZip(blob(large), all, { bytes: 1000, entries: 20 })).rejects.toThrowError(code('zip/refused'));
});

test('the same name twice is refused', async () => {
  const archive = zipSync({ 'a/x.json': text('1'), 'b/x.json': text('2') });
  await expect(readZip(blob(archive), all)).rejects.toThrowError(code('zip/refused'));
});

test('an archive that is cut, empty or none at all is damaged', async () => {
  const archive = zipSync({ 'x.json': noise(4000) });
  for (const bad of [archive.subarray(0, 2000), new Uint8Array(0), text('not a zip'), deflateSync(text('raw'))]) {
    await expect(readZip(blob(bad), all)).rejects.toThrowError(code('zip/damaged'));
  }
});

test('a size in the header that lies is found out', async () => {
  const archive = zipSync({ 'x.json': noise(4000) });
  const view = new DataView(archive.buffer, archive.byteOffset);
  view.setUint32(22, 10, true); // uncompressed size in the local header
  await expect(readZip(blob(archive), all)).rejects.toThrowError(code('zip/damaged'));
});

function replaced(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const out = new Uint8Array(bytes);
  const [wanted, put] = [text(from), text(to)];
  for (let at = 0; at + wanted.length <= out.length; at++) if (wanted.every((byte, i) => out[at + i] === byte)) out.set(put, at);
  return out;
}

test('an archive of files that stay on the disk is one that others read, of the size that was stated', async () => {
  const big = new Uint8Array(5 * 2 ** 20).map((_, i) => Math.imul(i, 2654435761) >>> 24);
  const entries = [
    { name: 'README.txt', content: '123456789' },
    { name: 'modèle/a.bin', content: new Blob([new Uint8Array(big)]) },
    { name: 'modèle/empty', content: new Uint8Array() },
  ];
  const archive = await zipOf(entries);
  expect(archive.size).toBe(
    zipBytes([
      { name: 'README.txt', bytes: 9 },
      { name: 'modèle/a.bin', bytes: big.length },
      { name: 'modèle/empty', bytes: 0 },
    ]),
  );
  const back = unzipSync(new Uint8Array(await archive.arrayBuffer()));
  expect(Object.keys(back)).toEqual(entries.map(({ name }) => name));
  expect(Buffer.compare(back['modèle/a.bin'], big)).toBe(0);
  expect((await readZip(archive, all)).size).toBe(3);
  // The check value of CRC-32/ISO-HDLC.
  expect(new DataView(await archive.slice(14, 18).arrayBuffer()).getUint32(0, true)).toBe(0xcbf43926);
});
