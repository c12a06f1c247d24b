// How every worker of ours is started: from a `blob:` whose only line imports the real module. A worker from an ordinary address has the policy of its
// own response, not the page's; one from a `blob:` inherits the page's Content-Security-Policy, so what holds for the page holds for the worker.

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(address: string): string }): { createScriptURL(address: string): string };
}
function trustedTypes(): TrustedTypes | undefined {
  const found: unknown = Reflect.get(globalThis, 'trustedTypes');
  return isTrustedTypes(found) ? found : undefined;
}
function isTrustedTypes(value: unknown): value is TrustedTypes {
  return typeof value === 'object' && value !== null && 'createPolicy' in value;
}

let policy: { createScriptURL(address: string): string } | undefined;

/** @param address the worker's module, as `import url from './worker.ts?worker&url'` gives it; @param base the address it is relative to */
export function startWorker(address: string, base: string, name: string): Worker {
  // Only addresses made here pass: a blob of one import of this site's own module.
  policy ??= trustedTypes()?.createPolicy('app-worker', { createScriptURL: (own) => own }) ?? { createScriptURL: (own) => own };
  const module = new URL(address, base);
  const site = new URL(base);
  if (module.origin !== site.origin) throw new Error(`the worker ${module.href} is not of this site`);
  const blob = URL.createObjectURL(new Blob([`import ${JSON.stringify(module.href)};\n`], { type: 'text/javascript' }));
  const worker = new Worker(policy.createScriptURL(blob), { type: 'module', name });
  worker.addEventListener('message', () => URL.revokeObjectURL(blob), { once: true });
  return worker;
}

/** Takes the ways out to the network away from a worker that holds private data, after its modules are there. A second line behind the policy. */
export function closeNetwork(): void {
  for (const name of ['fetch', 'XMLHttpRequest', 'WebSocket', 'WebSocketStream', 'WebTransport', 'EventSource', 'importScripts']) {
    Reflect.deleteProperty(globalThis, name);
    if (Reflect.has(globalThis, name)) Object.defineProperty(globalThis, name, { value: undefined, configurable: false, writable: false });
  }
}
