import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin, type UserConfig } from 'vite';
import { webllmModule } from './src/cli/node/webllm-module.ts';

/** Only for the test of our own alarm: MAQUETTE_PLANT_LEAK=page or =worker adds a request to another origin there, and the privacy test must see it. */
function plantedLeak(): Plugin {
  const places: Record<string, string> = { page: '/src/main.ts', worker: '/workers/engine.ts' };
  const place = places[process.env.MAQUETTE_PLANT_LEAK ?? ''];
  return {
    name: 'planted-leak',
    transform(code, id) {
      if (place === undefined || !id.split('?')[0]?.endsWith(place)) return undefined;
      return `${code}\nvoid fetch('https://leak.invalid/?planted').catch(() => undefined);\n`;
    },
  };
}

/** `vite dev` puts styles into the page and talks to it by WebSocket; the built site needs neither and keeps the strict policy of index.html. */
function policyForDevelopment(): Plugin {
  return {
    name: 'policy-for-development',
    apply: 'serve',
    transformIndexHtml: {
      order: 'pre',
      handler: (html) =>
        html
          .replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
          .replace("connect-src 'self'", "connect-src 'self' ws:")
          .replace("; require-trusted-types-for 'script'; trusted-types svelte-trusted-html app-worker", ''),
    },
  };
}

interface Content {
  readonly bytes: number;
  readonly sha256: string;
}
interface SiteFile extends Content {
  readonly path: string;
  /** What is inside of a .gz. */
  readonly opened?: Content;
}
function siteFile(path: string): SiteFile {
  const content = (file: Buffer): Content => ({ bytes: file.length, sha256: createHash('sha256').update(file).digest('hex') });
  const file = readFileSync(`public/${path}`);
  return { path, ...content(file), ...(path.endsWith('.gz') ? { opened: content(gunzipSync(file)) } : {}) };
}

/** The model that the site opens with, as it lies in public/, with its libraries for web-llm: the page fetches them by these paths and keeps only what has
 *  this hash. */
function bundledModel(): (SiteFile & { name: string; parameters: number; libraries: (SiteFile & { schedule: string })[] }) | null {
  const name = ['vale-mini', 'vale-micro'].find((model) => existsSync(`public/models/${model}/${model}.gguf`));
  if (name === undefined) return null;
  const libraries = ['software', 'gpu']
    .map((schedule) => ({ schedule, path: `models/${name}/webllm/${name}-q0f32-${schedule}.wasm.gz` }))
    .filter(({ path }) => existsSync(`public/${path}`))
    .map(({ schedule, path }) => ({ ...siteFile(path), schedule }));
  const { parameters }: { parameters: number } = JSON.parse(readFileSync(`public/models/${name}/card.json`, 'utf8'));
  return { name, parameters, ...siteFile(`models/${name}/${name}.gguf`), libraries };
}

/** The oldest browsers that have both WebGPU and light-dark(): without this, colours are rewritten for older ones and mix differently. */
const CSS_TARGET = ['chrome123', 'edge123', 'firefox128', 'safari17.5'];

/** Programs for Node by `--mode`: those of src/cli, and the checks of tests/real. Each mode has a folder of its own, `dist-MODE`. */
const PROGRAMS: Readonly<Record<string, Record<string, string>>> = {
  cli: {
    bench: 'src/cli/bench.ts',
    conformance: 'src/cli/conformance.ts',
    acceptance: 'src/cli/acceptance.ts',
    'export-bundled': 'src/cli/export-bundled.ts',
    'train-bundled': 'src/cli/train-bundled.ts',
    'train-tokenizer': 'src/cli/train-tokenizer.ts',
    'write-samples': 'src/cli/write-samples.ts',
  },
  real: { checks: 'tests/real/checks.ts' },
};

/** The site, or with `--mode cli` and the like programs for Node: the same sources, shaders included. */
export default defineConfig(({ mode }) => {
  const shared: UserConfig = {
    base: './',
    define: { BUNDLED_MODEL: JSON.stringify(bundledModel()) },
    worker: { format: 'es', plugins: () => [plantedLeak(), webllmModule()] },
    plugins: [svelte({ configFile: false }), plantedLeak(), webllmModule(), policyForDevelopment()],
  };
  const programs = PROGRAMS[mode];
  if (programs !== undefined) {
    return {
      ...shared,
      publicDir: false,
      build: {
        outDir: `dist-${mode}`,
        target: 'node20',
        minify: false,
        ssr: true,
        rolldownOptions: {
          input: programs,
          output: { entryFileNames: '[name].mjs' },
          external: ['webgpu'],
        },
      },
      ssr: { noExternal: true, external: ['webgpu'] },
    };
  }
  return {
    ...shared,
    build: {
      outDir: process.env.MAQUETTE_OUT ?? 'dist',
      target: 'es2023',
      cssTarget: CSS_TARGET,
      modulePreload: { polyfill: false },
      assetsInlineLimit: 0,
    },
    preview: { port: 4173, strictPort: false },
    test: {
      include: ['tests/**/*.test.ts'],
      exclude: ['tests/browser/**', 'tests/real/**', 'tests/llama/**', 'tests/peers/**', 'node_modules/**'],
      environment: 'node',
      pool: 'forks',
      maxWorkers: 2,
      testTimeout: 120_000,
      hookTimeout: 120_000,
    },
  } as UserConfig;
});
