// A static server over this folder, and one fresh headless Chromium for each measurement.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { chromium } from 'playwright-core';

const root = `${import.meta.dirname}/`;
const MIME = { '.js': 'text/javascript', '.html': 'text/html', '.wasm': 'application/wasm', '.json': 'application/json' };
const page = (peer) => `<!doctype html><meta charset=utf-8><title>${peer}</title><script type=module>
await import('/dist/harness.js'); await import('/dist/${peer}.js'); window.loaded = true;</script>`;

/** Serves the pages cross-origin isolated (threads), never cached. Resolves with the server; its port is `address().port`. */
export async function serve() {
  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://x');
    const headers = {
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
      'Cache-Control': 'no-store',
    };
    if (url.pathname.startsWith('/page/')) {
      response.writeHead(200, { ...headers, 'Content-Type': 'text/html' });
      response.end(page(url.pathname.slice(6)));
      return;
    }
    const file = join(root, normalize(url.pathname.startsWith('/wasm/') ? `/dist${url.pathname}` : url.pathname));
    if (!file.startsWith(root) || !existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404, headers);
      response.end();
      return;
    }
    response.writeHead(200, { ...headers, 'Content-Type': MIME[extname(file)] ?? 'application/octet-stream' });
    response.end(readFileSync(file));
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return server;
}

/** Peak resident memory (MB) of the GPU process and of the renderers under a browser's process, from /proc (Linux only). */
function peaks(parent) {
  const out = { gpuProcessPeakMB: 0, rendererPeakMB: 0 };
  if (!existsSync('/proc')) return out;
  const processes = {};
  for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${id}/status`, 'utf8');
      processes[id] = {
        parent: /PPid:\s+(\d+)/.exec(status)?.[1],
        peakMB: Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024,
        command: readFileSync(`/proc/${id}/cmdline`, 'utf8'),
      };
    } catch {
      // it ended meanwhile
    }
  }
  const inTree = (id) => {
    for (let at = id, depth = 0; at && depth < 20; at = processes[at]?.parent, depth++) if (at === String(parent)) return true;
    return false;
  };
  for (const [id, { peakMB, command }] of Object.entries(processes)) {
    if (!inTree(id)) continue;
    if (command.includes('--type=gpu-process')) out.gpuProcessPeakMB = Math.max(out.gpuProcessPeakMB, peakMB);
    if (command.includes('--type=renderer')) out.rendererPeakMB = Math.max(out.rendererPeakMB, peakMB);
  }
  return out;
}

const FLAGS = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--enable-unsafe-webgpu',
  '--enable-precise-memory-info',
];

/** Opens `url` in a browser of its own and resolves with what `measure` found there, the memory peaks and the console's errors. */
export async function withPage(url, { chrome, headed, hardware }, measure) {
  const args = [...FLAGS, ...(hardware ? [] : ['--use-webgpu-adapter=swiftshader']), '--enable-features=Vulkan'];
  const server = await chromium.launchServer({ executablePath: chrome, headless: !headed, args });
  const browser = await chromium.connect(server.wsEndpoint());
  try {
    const tab = await browser.newPage();
    const errors = [];
    tab.on('pageerror', (error) => errors.push(String(error)));
    tab.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') errors.push(message.text().slice(0, 400));
    });
    await tab.goto(url);
    await tab.waitForFunction('window.loaded', null, { timeout: 60_000 }).catch(() => {
      throw new Error(`page did not load: ${errors.join(' | ')}`);
    });
    const result = await measure(tab).catch((error) => ({ error: String(error).slice(0, 1200) }));
    const memory = peaks(server.process().pid);
    return { ...(Array.isArray(result) ? { rows: result } : result), ...memory, consoleErrors: errors.slice(0, 5) };
  } finally {
    await browser.close();
    await server.close();
  }
}
