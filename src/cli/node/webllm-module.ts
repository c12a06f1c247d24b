// `virtual:webllm-module`: the module that an export for web-llm carries, as text. It is bundled, while the site is built, of the code with which this app
// applies adapters inside web-llm: there is one implementation. Not minified, so that whoever gets it can read it.
import path from 'node:path';
import { build, type Plugin } from 'vite';

const ID = 'virtual:webllm-module';
const root = path.resolve(import.meta.dirname, '../../..');
const ENTRY = path.join(root, 'src/runtimes/webllm-export.ts');
const HEAD = [
  '// LoRA inside @mlc-ai/web-llm 0.2.86, unmerged: y += strength * scale * B (A x) after each kernel that binds a targeted weight, in the same pass.',
  '// Part of Maquette (MIT). Use: adapters = await loadWithAdapters(engine, model_id); adapters.add(id, factors, safetensors); await adapters.use([{ id, strength }]).',
];

/** One bundle for all places that ask for it: the site, its workers and the tests. */
let bundled: Promise<string> | undefined;

async function bundle(): Promise<string> {
  const made = await build({
    configFile: false,
    root,
    logLevel: 'warn',
    publicDir: false,
    build: { write: false, minify: false, target: 'es2023', lib: { entry: ENTRY, formats: ['es'], fileName: 'maquette-webllm' } },
  });
  const [output] = Array.isArray(made) ? made : [made];
  if (!('output' in output)) throw new Error('the module for web-llm was not built');
  const [chunk, ...more] = output.output;
  if (more.length > 0) throw new Error(`the module for web-llm came out as ${output.output.length} files`);
  return `${HEAD.join('\n')}\n${chunk.code}`;
}

export function webllmModule(): Plugin {
  return {
    name: 'webllm-module',
    resolveId: (id) => (id === ID ? `\0${ID}` : undefined),
    async load(id) {
      if (id !== `\0${ID}`) return undefined;
      bundled ??= bundle();
      return `export const source = ${JSON.stringify(await bundled)};`;
    },
  };
}
