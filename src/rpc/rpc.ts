// Calls across a worker boundary: comlink, with an AppError that keeps its code and cause, and an AbortSignal that carries cancel.
import { type Endpoint, expose, proxy, type Remote, releaseProxy, type TransferHandler, transferHandlers, wrap } from 'comlink';
import { AppError } from '../lib/error.ts';

export type { Endpoint } from 'comlink';

/** An error on the wire. */
interface WireError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string | undefined;
  readonly cause?: WireError;
  readonly app?: { readonly code: string; readonly why: string; readonly fix: string; readonly facts: AppError['facts'] };
}
/** A chain of causes is cut here: it may be a circle. */
const CAUSES = 8;

function toWire(error: unknown, depth = 0): WireError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message, stack, cause } = error;
  return {
    name,
    message,
    stack,
    ...(cause === undefined || depth >= CAUSES ? {} : { cause: toWire(cause, depth + 1) }),
    ...(error instanceof AppError ? { app: { code: error.code, why: error.why, fix: error.fix, facts: error.facts } } : {}),
  };
}

function fromWire(wire: WireError): Error {
  const cause = wire.cause === undefined ? undefined : fromWire(wire.cause);
  let error: Error;
  if (wire.app === undefined) {
    error = new Error(wire.message, cause === undefined ? undefined : { cause });
    error.name = wire.name;
  } else {
    const { code, why, fix, facts } = wire.app;
    error = new AppError(code, wire.message, { why, fix, facts, cause });
  }
  if (wire.stack !== undefined) error.stack = wire.stack;
  return error;
}

/** Closes the port of a signal that came over a wire, once its call has ended. */
const signalPorts = new WeakMap<AbortSignal, () => void>();

interface WireSignal {
  readonly aborted: boolean;
  readonly port: MessagePort;
}
const signalHandler: TransferHandler<AbortSignal, WireSignal> = {
  canHandle: (value): value is AbortSignal => value instanceof AbortSignal,
  serialize(signal) {
    const { port1, port2 } = new MessageChannel();
    const abort = (): void => port1.postMessage('abort');
    signal.addEventListener('abort', abort, { once: true });
    // The other side says when its call has ended, so that a long-lived signal does not collect listeners.
    port1.onmessage = () => {
      signal.removeEventListener('abort', abort);
      port1.close();
    };
    return [{ aborted: signal.aborted, port: port2 }, [port2]];
  },
  deserialize({ aborted, port }) {
    const controller = new AbortController();
    if (aborted) controller.abort();
    port.onmessage = () => controller.abort();
    signalPorts.set(controller.signal, () => {
      port.postMessage('done');
      port.close();
    });
    return controller.signal;
  },
};

function register(): void {
  if (transferHandlers.has('maquette signal')) return;
  transferHandlers.set('maquette signal', signalHandler);
  // comlink's own handler of thrown values keeps a message and a stack only.
  const plain = transferHandlers.get('throw');
  if (plain === undefined) throw new Error('comlink has no handler named throw');
  transferHandlers.set('throw', {
    canHandle: plain.canHandle,
    serialize: (thrown) => [toWire(typeof thrown === 'object' && thrown !== null && 'value' in thrown ? thrown.value : thrown), []],
    deserialize(wire) {
      throw isWireError(wire) ? fromWire(wire) : wire;
    },
  });
}
function isWireError(value: unknown): value is WireError {
  return typeof value === 'object' && value !== null && 'name' in value && 'message' in value;
}

type Callback = (...args: unknown[]) => unknown;
/** A callback of the other side, as comlink hands it over. */
function isRemoteCallback(value: unknown): value is Remote<Callback> {
  return typeof value === 'function';
}

/** An argument as the api sees it, and what to do with it when the call has ended. */
function receive(argument: unknown): { readonly value: unknown; release(): Promise<void> } {
  if (isRemoteCallback(argument)) {
    let last: Promise<unknown> = Promise.resolve();
    return {
      value: (...args: unknown[]) => {
        last = argument(...args).catch(() => undefined);
      },
      // A call's result must not overtake what it said on the way: they travel on different ports.
      async release() {
        await last;
        argument[releaseProxy]();
      },
    };
  }
  if (argument instanceof AbortSignal) return { value: argument, release: async () => signalPorts.get(argument)?.() };
  return { value: argument, release: async () => undefined };
}

/** Answers calls of the other side with the functions of `api`. In a worker the endpoint is the worker itself. */
export function serve<Api extends object>(api: Api, endpoint?: Endpoint): void {
  register();
  const served: Record<string, Callback> = {};
  for (const [name, method] of Object.entries(api)) {
    if (typeof method !== 'function') continue;
    served[name] = async (...args) => {
      const received = args.map(receive);
      try {
        return await Reflect.apply(
          method,
          api,
          received.map(({ value }) => value),
        );
      } finally {
        await Promise.all(received.map((argument) => argument.release()));
      }
    };
  }
  expose(served, endpoint);
}

export interface Connection<Api> {
  readonly api: Api;
  /** Rejects every call that waits, and every later one: the other side is gone. */
  end(reason: Error): void;
}

/** The other side's functions. Callbacks and signals may be arguments; callbacks come in order and before the call resolves. */
export function connect<Api extends object>(endpoint: Endpoint): Connection<Api> {
  register();
  const remote = wrap<Record<string, Callback>>(endpoint);
  const waiting = new Set<(reason: Error) => void>();
  let ended: Error | undefined;
  const call = (name: string, args: readonly unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (ended !== undefined) {
        reject(ended);
        return;
      }
      const settle = <T>(next: (value: T) => void): ((value: T) => void) => {
        return (value) => {
          waiting.delete(reject);
          next(value);
        };
      };
      waiting.add(reject);
      const method = remote[name];
      if (method === undefined) throw new Error(`the other side has no ${name}`);
      Promise.resolve(method(...args.map(send))).then(settle(resolve), settle(reject));
    });
  // The one `any`: the compiler cannot know that a Proxy answers to every name of `Api`; `serve` is typed by the same interface.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  const api: any = new Proxy(
    {},
    { get: (_, name) => (typeof name === 'string' && name !== 'then' ? (...args: unknown[]) => call(name, args) : undefined) },
  );
  return {
    api,
    end(reason) {
      ended ??= reason;
      for (const reject of waiting) reject(reason);
      waiting.clear();
    },
  };
}

function isFunction(value: unknown): value is Callback {
  return typeof value === 'function';
}
function send(argument: unknown): unknown {
  if (!isFunction(argument)) return argument;
  return proxy((...args: unknown[]) => {
    try {
      argument(...args);
    } catch (error) {
      // The other side does not wait for it, so it is told where errors of this side are seen.
      setTimeout(() => {
        throw error;
      });
    }
  });
}
