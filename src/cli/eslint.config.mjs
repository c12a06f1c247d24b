// The two rules that Biome does not hold in Svelte files: no floating promise, no raw HTML. Everything else is Biome's.

import path from 'node:path';
import svelte from 'eslint-plugin-svelte';
import tseslint from 'typescript-eslint';

const root = path.resolve(import.meta.dirname, '../..');
const typed = (tsconfig) => ({
  parser: tseslint.parser,
  project: [path.join(root, tsconfig)],
  tsconfigRootDir: root,
  extraFileExtensions: ['.svelte'],
});
const rules = { '@typescript-eslint/no-floating-promises': 'error' };
const plugins = { '@typescript-eslint': tseslint.plugin };

/** Workers that only tests start, checked as workers are. */
const WORKERS_OF_TESTS = ['tests/webllm/lora-page/planted.ts', 'tests/webllm/both-page/worker.ts'];

export default [
  { ignores: ['**/*.d.ts', '**/*.mjs'] },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/ui/**', 'src/client/**', 'src/storage/**', 'src/rpc/**', 'src/cli/**', 'src/main.ts', 'src/runtimes/**'],
    languageOptions: { parser: tseslint.parser, parserOptions: typed('src/tsconfig.json') },
    plugins,
    rules,
  },
  {
    files: ['workers/**/*.ts', 'src/storage/**/*.ts', 'src/rpc/**/*.ts', 'src/runtimes/**/*.ts', ...WORKERS_OF_TESTS],
    languageOptions: { parser: tseslint.parser, parserOptions: typed('workers/tsconfig.json') },
    plugins,
    rules,
  },
  {
    files: ['src/cli/**/*.ts'],
    languageOptions: { parser: tseslint.parser, parserOptions: typed('src/cli/tsconfig.json') },
    plugins,
    rules,
  },
  {
    files: ['tests/**/*.ts'],
    ignores: WORKERS_OF_TESTS,
    languageOptions: { parser: tseslint.parser, parserOptions: typed('tests/tsconfig.json') },
    plugins,
    rules,
  },
  {
    files: ['src/ui/**/*.ts', 'src/client/**/*.ts', 'src/main.ts'],
    languageOptions: { parser: tseslint.parser, parserOptions: typed('src/ui/tsconfig.json') },
    plugins,
    rules,
  },
  ...svelte.configs.base,
  {
    files: ['src/ui/**/*.svelte', 'src/ui/**/*.svelte.ts'],
    languageOptions: { parserOptions: typed('src/ui/tsconfig.json') },
    plugins,
    rules: { ...rules, 'svelte/no-at-html-tags': 'error' },
  },
];
