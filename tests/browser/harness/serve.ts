// Builds the harness under the site's own policy and serves it.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { build, preview } from 'vite';
import { webllmModule } from '../../../src/cli/node/webllm-module.ts';

const root = path.resolve(import.meta.dirname, '../../..');

export async function serveHarness(
  outDir: string,
  input = path.join(root, 'tests/browser/harness/index.html'),
): Promise<{ readonly address: string; close(): Promise<void> }> {
  const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(readFileSync(path.join(root, 'index.html'), 'utf8'))?.[1];
  if (policy === undefined) throw new Error('index.html has no policy');
  await build({
    root: path.dirname(input),
    configFile: false,
    logLevel: 'warn',
    base: './',
    publicDir: false,
    worker: { format: 'es', plugins: () => [webllmModule()] },
    plugins: [{ name: 'policy', transformIndexHtml: { order: 'pre', handler: (html) => html.replace('POLICY', policy) } }],
    build: { outDir, emptyOutDir: true, target: 'es2023', modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  });
  const server = await preview({
    root: path.dirname(input),
    configFile: false,
    logLevel: 'warn',
    build: { outDir },
    preview: { port: 4180, strictPort: false },
  });
  const address = server.resolvedUrls?.local[0];
  if (address === undefined) throw new Error('the preview server has no address');
  return { address, close: () => server.close() };
}
