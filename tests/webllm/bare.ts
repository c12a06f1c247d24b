// What the app exports for web-llm, served as plain files beside the npm package: unpacked, and a server that knows nothing of this project.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { peft } from '../../src/formats/peft.ts';
import type { ModelConfig, PortableAdapter, PortableLora } from '../../src/formats/types.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { readZip } from '../../workers/engine/zip.ts';

const PACKAGE = path.resolve(import.meta.dirname, '../../node_modules/@mlc-ai/web-llm/lib/index.js');
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

/** Writes the files of an archive that is stored and not packed, folders and all. Returns their names. */
export async function unzipTo(folder: string, archive: Uint8Array): Promise<readonly string[]> {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  const names: string[] = [];
  for (let at = 0; view.getUint32(at, true) === 0x04034b50; ) {
    const [bytes, nameBytes] = [view.getUint32(at + 18, true), view.getUint16(at + 26, true)];
    const name = new TextDecoder().decode(archive.subarray(at + 30, at + 30 + nameBytes));
    const from = at + 30 + nameBytes;
    const file = path.join(folder, name);
    if (path.relative(folder, file).startsWith('..')) throw new Error(`${name} leaves the folder`);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, archive.subarray(from, from + bytes));
    names.push(name);
    at = from + bytes;
  }
  // An independent reader checks the archive as a whole.
  await readZip(new Blob([new Uint8Array(archive)]), () => true);
  return names;
}

/** Serves a folder, and the package where `npm install` would have put it. */
export async function serveFiles(folder: string): Promise<{ readonly address: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const wanted = path.join(folder, pathname === '/' ? 'index.html' : decodeURIComponent(pathname));
    const file = pathname === '/node_modules/@mlc-ai/web-llm/lib/index.js' ? PACKAGE : wanted;
    if (file !== PACKAGE && (path.relative(folder, file).startsWith('..') || !existsSync(file))) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  const place = server.address();
  if (place === null || typeof place === 'string') throw new Error('the server has no port');
  return {
    address: `http://localhost:${place.port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

/** A LoRA of random numbers on all seven linears of each layer, as PEFT keeps it: large enough that answers change. */
export function randomLora(config: ModelConfig, rank: number, size: number): ReadonlyMap<string, Uint8Array> {
  const { C, L, NH, NKV, HS, F } = config;
  const random = seededRandom(8);
  const numbers = (count: number, rms: number): Float32Array =>
    Float32Array.from({ length: count }, () => (random.next() * 2 - 1) * Math.sqrt(3) * rms);
  const linears: readonly (readonly [string, number, number])[] = [
    ...([
      ['self_attn.q_proj', C, NH * HS],
      ['self_attn.k_proj', C, NKV * HS],
      ['self_attn.v_proj', C, NKV * HS],
    ] as const),
    ...([
      ['self_attn.o_proj', NH * HS, C],
      ['mlp.gate_proj', C, F],
      ['mlp.up_proj', C, F],
      ['mlp.down_proj', F, C],
    ] as const),
  ];
  const modules = Array.from({ length: L }, (_, layer) =>
    linears.map(
      ([linear, inFeatures, outFeatures]): PortableLora => ({
        module: `model.layers.${layer}.${linear}`,
        ...{ rank, alpha: 2 * rank, inFeatures, outFeatures },
        A: numbers(rank * inFeatures, 1 / Math.sqrt(inFeatures)),
        B: numbers(outFeatures * rank, size),
      }),
    ),
  ).flat();
  const adapter: PortableAdapter = { kind: 'lora', rank, alpha: 2 * rank, rsLora: false, dropout: 0, modules };
  return peft.write(adapter, config);
}
