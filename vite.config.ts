import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type UserConfig } from 'vite';

/** The site, or with `--mode cli` the programs for Node: the same sources, shaders included. */
export default defineConfig(({ mode }) => {
  const shared: UserConfig = {
    base: './',
    worker: { format: 'es' },
    plugins: [svelte({ configFile: false })],
  };
  if (mode === 'cli') {
    return {
      ...shared,
      publicDir: false,
      build: {
        outDir: 'dist-cli',
        target: 'node20',
        minify: false,
        ssr: true,
        rolldownOptions: { input: { conformance: 'src/cli/conformance.ts' }, output: { entryFileNames: '[name].mjs' }, external: ['webgpu'] },
      },
      ssr: { noExternal: true, external: ['webgpu'] },
    };
  }
  return {
    ...shared,
    build: { target: 'es2023', modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
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
