// `npm test`: checks, unit tests, build, browser tests. Ends with one line, "N passed, N failed[, N skipped]". `npm test -- unit` runs one part.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { dawnEnvironment, findOrInstallBrowser } from './environment.mjs';

const only = process.argv.slice(2);
const wanted = (part) => only.length === 0 || only.includes(part);
const total = { passed: 0, failed: 0, skipped: 0 };
const started = Date.now();
const node = (args, env) => spawnSync(process.execPath, args, { stdio: 'inherit', env }).status === 0;
const count = (passed, failed, skipped) => {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
};

/** A port that nobody uses: `npm start` may be running beside. */
const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, 'localhost', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const browser = findOrInstallBrowser();
const env = { MAQUETTE_PORT: String(await freePort()), ...dawnEnvironment(), CHROME_PATH: browser };
console.log(`Browser: ${browser}`);
rmSync('test-results', { recursive: true, force: true });
mkdirSync('test-results', { recursive: true });

if (wanted('check')) {
  const ok = node(['src/cli/check.mjs'], env);
  count(ok ? 1 : 0, ok ? 0 : 1, 0);
}
if (wanted('unit')) {
  const file = 'test-results/unit.json';
  const ok = node(['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`], env);
  if (existsSync(file)) {
    const report = JSON.parse(readFileSync(file, 'utf8'));
    count(report.numPassedTests, report.numFailedTests, report.numPendingTests + (report.numTodoTests ?? 0));
    // A file that could not be loaded fails without a failed test.
    const broken = report.testResults.filter(
      (result) => result.status === 'failed' && result.assertionResults.every((a) => a.status !== 'failed'),
    );
    for (const result of broken) console.log(`FAILED to run: ${result.name}`);
    total.failed += broken.length;
    if (!ok && report.numFailedTests === 0 && broken.length === 0) total.failed++;
  } else total.failed++;
}
if (wanted('browser')) {
  if (node(['node_modules/vite/bin/vite.js', 'build'], env)) {
    for (const part of ['alone', 'together']) {
      const results = `test-results/${part}`;
      const ok = node(['node_modules/@playwright/test/cli.js', 'test'], { ...env, MAQUETTE_PART: part, MAQUETTE_RESULTS: results });
      const file = `${results}/report.json`;
      if (existsSync(file)) {
        const { stats } = JSON.parse(readFileSync(file, 'utf8'));
        count(stats.expected, stats.unexpected + stats.flaky, stats.skipped);
        if (!ok && stats.unexpected + stats.flaky === 0) total.failed++;
      } else total.failed++;
    }
  } else total.failed++;
}
console.log(`\nTook ${Math.round((Date.now() - started) / 1000)} s.`);
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
