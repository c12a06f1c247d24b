// What a program that uses Dawn in Node, or a browser, needs to find before it starts.
import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const CANDIDATES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/opt/google/chrome/chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe',
];

/** The browser to test in: CHROME_PATH, else an installed Chrome or Chromium, else Playwright's own, else undefined. */
export function findBrowser() {
  const named = process.env.CHROME_PATH;
  if (named) {
    if (existsSync(named)) return named;
    throw new Error(`CHROME_PATH names ${named}, and there is no such file.`);
  }
  const installed = CANDIDATES.find((file) => existsSync(file));
  if (installed) return installed;
  try {
    const { chromium } = createRequire(import.meta.url)('playwright-core');
    const own = chromium.executablePath();
    if (own && existsSync(own)) return own;
  } catch {
    // playwright-core is not installed yet
  }
  return undefined;
}

/** On Debian as root, installs `chromium` with apt. Returns the browser, or throws with what to install. */
export function findOrInstallBrowser() {
  const found = findBrowser();
  if (found) return found;
  if (process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/etc/debian_version')) {
    console.log('No browser found: installing chromium with apt-get.');
    const quiet = { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
    execFileSync('apt-get', ['update', '-qq'], quiet);
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], quiet);
    const installed = findBrowser();
    if (installed) return installed;
  }
  throw new Error(
    'No Chrome or Chromium found. Install one (Debian: apt-get install chromium; elsewhere: https://www.google.com/chrome or `npx playwright install chromium`), or set CHROME_PATH to its program.',
  );
}

/** Environment for a process that uses Dawn: where there is no GPU driver, Vulkan's loader and SwiftShader come from the browser's folder. */
export function dawnEnvironment() {
  const env = { ...process.env };
  if (process.platform !== 'linux' || env.VK_ICD_FILENAMES || env.VK_DRIVER_FILES) return env;
  const browser = findBrowser();
  const folders = [
    '/usr/lib/chromium',
    '/usr/lib/chromium-browser',
    '/opt/google/chrome',
    ...(browser ? [path.dirname(realpathSync(browser))] : []),
  ];
  const folder = folders.find((dir) => existsSync(path.join(dir, 'vk_swiftshader_icd.json')));
  if (folder) {
    env.VK_ICD_FILENAMES = path.join(folder, 'vk_swiftshader_icd.json');
    env.LD_LIBRARY_PATH = [folder, env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  }
  return env;
}
