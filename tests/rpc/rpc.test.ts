import { afterEach, expect, test } from 'vitest';
import { AppError, isAbort } from '../../src/lib/error.ts';
import { type Connection, connect, serve } from '../../src/rpc/rpc.ts';

interface CountApi {
  add(a: number, b: number): Promise<number>;
  fail(): Promise<void>;
  failPlainly(): Promise<void>;
  count(to: number, onStep: (step: number) => void, signal: AbortSignal): Promise<number>;
  waitForAbort(signal: AbortSignal): Promise<void>;
  throwIfAborted(signal: AbortSignal): Promise<void>;
  never(): Promise<void>;
  bytes(bytes: Uint8Array): Promise<Uint8Array>;
}
const api: CountApi = {
  add: async (a, b) => a + b,
  async fail() {
    throw new AppError('test/broken', 'It broke.', {
      why: 'It was made of glass.',
      fix: 'Use steel.',
      facts: { drops: 3, metal: false },
      cause: new AppError('test/cause', 'It fell.', { cause: new RangeError('too high') }),
    });
  },
  async failPlainly() {
    throw new TypeError('not a number');
  },
  async count(to, onStep, signal) {
    let step = 0;
    while (step < to && !signal.aborted) {
      onStep(++step);
      if (step % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return step;
  },
  waitForAbort: (signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
  throwIfAborted: async (signal) => signal.throwIfAborted(),
  never: () => new Promise(() => undefined),
  bytes: async (bytes) => bytes.map((byte) => byte + 1),
};

const ports: MessagePort[] = [];
function pair(): Connection<CountApi> {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  serve(api, port1);
  return connect<CountApi>(port2);
}
afterEach(() => {
  for (const port of ports.splice(0)) port.close();
});

test('values and bytes cross as they are', async () => {
  const { api: remote } = pair();
  expect(await remote.add(2, 40)).toBe(42);
  expect(await remote.bytes(new Uint8Array([1, 2, 254]))).toEqual(new Uint8Array([2, 3, 255]));
});

test('an AppError keeps its code, texts, facts and causes', async () => {
  const error = await pair()
    .api.fail()
    .catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(AppError);
  expect(error).toMatchObject({
    code: 'test/broken',
    message: 'It broke.',
    why: 'It was made of glass.',
    fix: 'Use steel.',
    facts: { drops: 3, metal: false },
    cause: { code: 'test/cause', message: 'It fell.', cause: { name: 'RangeError', message: 'too high' } },
  });
});

test('another error keeps its name and message', async () => {
  await expect(pair().api.failPlainly()).rejects.toMatchObject({ name: 'TypeError', message: 'not a number' });
});

test('callbacks come in order and all of them before the result', async () => {
  const steps: number[] = [];
  const counted = await pair().api.count(100, (step) => steps.push(step), new AbortController().signal);
  expect(counted).toBe(100);
  expect(steps).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
});

test('an abort arrives while the call runs', async () => {
  const stop = new AbortController();
  const counted = await pair().api.count(1e6, (step) => step === 30 && stop.abort(), stop.signal);
  expect(counted).toBeGreaterThanOrEqual(30);
  expect(counted).toBeLessThan(1e6);
});

test('a signal that was aborted before arrives aborted, and its error is an abort', async () => {
  const { api: remote } = pair();
  await remote.throwIfAborted(new AbortController().signal);
  const error = await remote.throwIfAborted(AbortSignal.abort()).catch((caught: unknown) => caught);
  expect(isAbort(error)).toBe(true);
});

test('one signal serves many calls and is let go after each', async () => {
  const { api: remote } = pair();
  const stop = new AbortController();
  for (let i = 0; i < 50; i++) await remote.throwIfAborted(stop.signal);
  const waits = [remote.waitForAbort(stop.signal), remote.waitForAbort(stop.signal)];
  stop.abort();
  await Promise.all(waits);
});

test('when the other side is gone, calls that wait and later ones reject', async () => {
  const connection = pair();
  const waiting = connection.api.never();
  connection.end(new AppError('gpu/lost', 'The GPU was lost.'));
  await expect(waiting).rejects.toMatchObject({ code: 'gpu/lost' });
  await expect(connection.api.add(1, 1)).rejects.toMatchObject({ code: 'gpu/lost' });
});
