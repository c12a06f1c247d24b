// The peers by esbuild; our own page by Vite (the project's), which brings the shaders in as in the app.
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const root = import.meta.dirname;
const at = (...parts) => path.join(root, ...parts);
rmSync(at('dist'), { recursive: true, force: true });
await build({
  entryPoints: ['harness', 'ceiling', 'jax', 'tfjs'].map((name) => at('src', `${name}.js`)),
  bundle: true,
  format: 'esm',
  target: 'es2022',
  outdir: at('dist'),
  splitting: true,
  minify: true,
  logLevel: 'warning',
  define: { 'process.env.NODE_ENV': '"production"' },
  external: ['fs', 'path', 'crypto', 'worker_threads', 'perf_hooks', 'os'],
});
mkdirSync(at('dist/wasm'), { recursive: true });
for (const file of ['tfjs-backend-wasm-simd.wasm', 'tfjs-backend-wasm-threaded-simd.wasm', 'tfjs-backend-wasm.wasm']) {
  const from = at('node_modules/@tensorflow/tfjs-backend-wasm/dist', file);
  if (existsSync(from)) copyFileSync(from, at('dist/wasm', file));
}

const vite = await import('vite').catch(() => {
  throw new Error('Our own page is built with the project’s Vite: run `npm install` in the project first.');
});
await vite.build({
  configFile: false,
  root: path.resolve(root, '../..'),
  publicDir: false,
  logLevel: 'warn',
  build: {
    outDir: at('dist'),
    emptyOutDir: false,
    target: 'es2023',
    lib: { entry: at('src/ours.js'), formats: ['es'], fileName: 'ours' },
  },
});
