// `npm run check`: format and lint, types of every project, Svelte's warnings, floating promises. Stops at nothing, fails if anything failed.
import { spawnSync } from 'node:child_process';

const bin = (name, file) => [process.execPath, [`node_modules/${name}/${file}`]];
const tsc = (project) => ({ what: `types of ${project}`, command: bin('typescript', 'bin/tsc'), args: ['-p', project] });
const checks = [
  { what: 'Biome', command: bin('@biomejs/biome', 'bin/biome'), args: ['check', '--error-on-warnings', '.'] },
  ...['src/tsconfig.json', 'src/cli/tsconfig.json', 'workers/tsconfig.json', 'src/ui/tsconfig.json', 'tests/tsconfig.json'].map(tsc),
  {
    what: 'Svelte',
    command: bin('svelte-check', 'bin/svelte-check'),
    args: ['--tsconfig', 'src/ui/tsconfig.json', '--fail-on-warnings', '--output', 'human'],
  },
  {
    what: 'floating promises',
    command: bin('eslint', 'bin/eslint.js'),
    args: ['--config', 'src/cli/eslint.config.mjs', '--max-warnings', '0', 'src', 'workers', 'tests'],
  },
];
let failed = 0;
for (const { what, command, args } of checks) {
  const started = Date.now();
  const run = spawnSync(command[0], [...command[1], ...args], { encoding: 'utf8' });
  const ok = run.status === 0;
  if (!ok) failed++;
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${what} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  if (!ok) console.log(`${run.stdout}${run.stderr}`);
}
console.log(`${checks.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
