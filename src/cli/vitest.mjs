// Vitest with the environment that Dawn needs: node src/cli/vitest.mjs [vitest's own arguments]
import { spawnSync } from 'node:child_process';
import { dawnEnvironment } from './environment.mjs';

const run = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: dawnEnvironment(),
});
process.exit(run.status ?? 1);
