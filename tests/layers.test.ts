// Holds who may import whom (STYLE.md, "Who may import whom"), that types.ts files import only each other, that one file calls fetch, and no raw HTML.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');
const CORE = ['shaders', 'src/lib', 'src/formats', 'src/text', 'src/data', 'src/metrics'];
const METHODS = [...CORE, 'src/engine', 'src/methods'];
/** The layers a layer may import, besides itself, src/lib and any types. A name with "npm:" is a package; without a list any package is allowed. */
const MAY: Readonly<Record<string, { readonly layers: readonly string[]; readonly packages?: readonly string[] }>> = {
  shaders: { layers: [], packages: [] },
  'src/lib': { layers: [], packages: [] },
  'src/formats': { layers: [] },
  'src/text': { layers: ['src/formats'] },
  'src/data': { layers: ['src/formats', 'src/text'] },
  'src/metrics': { layers: ['src/formats', 'src/text', 'src/data'] },
  'src/engine': { layers: ['shaders'], packages: [] },
  'src/methods': { layers: ['src/engine', 'src/text', 'src/data', 'src/metrics'] },
  'src/experiments': { layers: METHODS },
  'src/world': { layers: ['src/data', 'src/text'] },
  'src/runtimes': { layers: ['shaders', 'src/formats', 'src/text'] },
  'src/storage': { layers: [], packages: ['idb', 'hash-wasm', 'valibot'] },
  'src/rpc': { layers: [], packages: ['comlink'] },
  'src/cli': { layers: [...METHODS, 'src/experiments', 'src/world', 'src/runtimes', 'src/storage', 'src/rpc'] },
  workers: { layers: [...METHODS, 'src/experiments', 'src/world', 'src/runtimes', 'src/storage', 'src/rpc'] },
  'src/client': { layers: ['src/rpc'], packages: [] },
  'src/ui': { layers: ['src/client', 'src/storage'] },
  'src/main.ts': { layers: ['src/ui'], packages: ['svelte'] },
};

const layerOf = (file: string): string => (file.startsWith('src/') ? file.split('/').slice(0, 2).join('/') : file.split('/')[0]);

/** Nouns that any layer may speak of: types.ts files, and the contract of the workers, which is types too. */
const isTypes = (file: string): boolean => file.endsWith('/types.ts') || file === 'src/rpc/contract.ts';

/** What is wrong with one import: `from` is a file, `to` a file or a package's name, both as seen from the root. */
function violation(from: string, to: string): string | undefined {
  const rule = MAY[layerOf(from)];
  if (rule === undefined) return `${from} is in no known layer`;
  const isFile = /^(src|workers|shaders|public)\//.test(to);
  // A client starts its worker by its address, which brings in no code of it.
  if (to.startsWith('url:')) {
    const layer = layerOf(to.slice(4));
    const own = layer === layerOf(from) || (layerOf(from) === 'src/client' && layer === 'workers');
    return own ? undefined : `${from} takes the address of ${to.slice(4)}`;
  }
  if (isTypes(from) && !isTypes(to)) return `${from} imports ${to}: types.ts files import only each other`;
  if (!isFile) {
    const allowed = to.startsWith('node:') ? layerOf(from) === 'src/cli' : (rule.packages?.includes(to) ?? true);
    return allowed ? undefined : `${from} imports the package ${to}`;
  }
  const open = [layerOf(from), 'src/lib', ...rule.layers].includes(layerOf(to)) || isTypes(to);
  return open ? undefined : `${from} imports ${to}: against the order of layers`;
}

function filesUnder(folder: string): string[] {
  const entries = readdirSync(path.join(ROOT, folder), { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile() && /\.(ts|svelte)$/.test(entry.name))
    .map((entry) => path.relative(ROOT, path.join(entry.parentPath, entry.name)));
}
const sources = ['src', 'workers'].flatMap(filesUnder).map((file) => ({ file, text: readFileSync(path.join(ROOT, file), 'utf8') }));

/** Every specifier that a source names, static, dynamic or as the URL of a worker, as a path from the root or a package's name. */
function importsOf(file: string, text: string): string[] {
  const pattern = /(\bfrom\s*|\bimport\s*\(?\s*|new URL\(\s*)(['"])([^'"\n]+)\2/g;
  return [...text.matchAll(pattern)].map(([, keyword, , specifier]) => {
    const [bare, query = ''] = specifier.split('?');
    if (!bare.startsWith('.'))
      return bare
        .split('/')
        .slice(0, bare.startsWith('@') ? 2 : 1)
        .join('/');
    const target = path.join(path.dirname(file), bare);
    return keyword.startsWith('new URL') || /(^|&)url(&|$)/.test(query) ? `url:${target}` : target;
  });
}
const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\/|(?<![:'"`\\])\/\/.*/g, '');

describe('the layers', () => {
  it('import only downwards', () => {
    const found = sources.flatMap(({ file, text }) => importsOf(file, withoutComments(text)).flatMap((to) => violation(file, to) ?? []));
    expect(found).toEqual([]);
  });
  it('call fetch in one file, and put no text into the page as HTML', () => {
    const fetching = sources.filter(
      ({ file, text }) => /(?<![\w.#])fetch\s*\(/.test(withoutComments(text)) && file !== 'src/storage/download.ts',
    );
    expect(fetching.map(({ file }) => file)).toEqual([]);
    expect(
      sources.filter(({ text }) => /\{@html|\.(inner|outer)HTML\b|insertAdjacentHTML/.test(withoutComments(text))).map(({ file }) => file),
    ).toEqual([]);
  });
  it('would be caught breaking the rule', () => {
    const bad: readonly (readonly [string, string])[] = [
      ['src/text/prompt.ts', 'src/data/rows.ts'],
      ['src/engine/model.ts', 'src/text/prompt.ts'],
      ['src/engine/model.ts', 'd3-array'],
      ['src/ui/screens/Task.svelte', 'src/engine/model.ts'],
      ['src/ui/screens/Task.svelte', 'workers/engine.ts'],
      ['src/data/types.ts', 'src/data/rows.ts'],
      ['src/client/engine.ts', 'src/methods/lora.ts'],
      ['src/methods/lora.ts', 'node:fs'],
      ['src/ui/screens/Task.svelte', 'url:workers/engine.ts'],
      ['src/client/engine.ts', 'workers/engine.ts'],
      ['src/other/x.ts', 'src/lib/error.ts'],
    ];
    for (const [from, to] of bad) expect(violation(from, to), `${from} -> ${to}`).toBeDefined();
    for (const [from, to] of [
      ['src/metrics/propose.ts', 'src/lib/stats.ts'],
      ['src/ui/screens/Task.svelte', 'src/engine/types.ts'],
      ['src/ui/screens/Task.svelte', 'src/rpc/contract.ts'],
      ['workers/engine.ts', 'src/experiments/runner.ts'],
    ]) {
      expect(violation(from, to)).toBeUndefined();
    }
    const text = `import { a } from '../data/rows.ts';\nconst b = await import("./x.ts");\nnew Worker(new URL('../../workers/engine.ts', import.meta.url));\nimport '@scope/pkg/file.css';`;
    expect(importsOf('src/text/y.ts', text)).toEqual(['src/data/rows.ts', 'src/text/x.ts', 'url:workers/engine.ts', '@scope/pkg']);
  });
});

describe('the tree', () => {
  it('is plain files: a committed link (to installed packages, say) breaks a fresh clone', () => {
    const entries = execFileSync('git', ['ls-files', '--stage'], { cwd: ROOT, encoding: 'utf8' }).trim().split('\n');
    expect(entries.length).toBeGreaterThan(500);
    expect(entries.filter((line) => !line.startsWith('100'))).toEqual([]);
  });
});
