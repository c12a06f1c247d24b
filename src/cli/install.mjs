// Installs what is missing before `npm start` or `npm test`, and never removes what the other one needs: node src/cli/install.mjs start|test
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const purpose = process.argv[2];
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`Maquette needs Node 20.19 or newer; this is ${process.versions.node}. Get it from https://nodejs.org`);
  process.exit(1);
}
const { dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
const isInstalled = ([name, version]) => {
  const file = `node_modules/${name}/package.json`;
  return existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).version === version;
};
const forSite = Object.entries(dependencies);
const forTests = Object.entries(devDependencies);
const wanted = purpose === 'test' ? [...forSite, ...forTests] : forSite;
const missing = wanted.filter((entry) => !isInstalled(entry)).map(([name]) => name);
if (missing.length > 0) {
  // `npm ci` starts from nothing, so where tests were installed before, they are installed again.
  const withTests = purpose === 'test' || forTests.some(isInstalled);
  console.log(
    `Installing ${missing.length} package${missing.length === 1 ? '' : 's'} from the lockfile${withTests ? '' : ', without those for tests'}.`,
  );
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  execFileSync(
    npm,
    ['ci', '--ignore-scripts', '--no-fund', '--no-audit', '--loglevel=error', ...(withTests ? ['--include=dev'] : ['--omit=dev'])],
    {
      stdio: ['ignore', 'inherit', 'inherit'],
      shell: process.platform === 'win32',
    },
  );
}
