// Who wrote what, told to every tab, to the workers and to the writer's own context, so that screens read again.
import type { StoreName } from './types.ts';

/** `store` is 'all' after everything was erased. */
export interface Change {
  readonly store: StoreName | 'all';
  readonly key: string;
}
type Listener = (change: Change) => void;

const listeners = new Set<Listener>();
let channel: BroadcastChannel | undefined;

function open(): BroadcastChannel | undefined {
  if (channel === undefined && typeof BroadcastChannel !== 'undefined') {
    channel = new BroadcastChannel('maquette');
    channel.onmessage = (event: MessageEvent<unknown>) => {
      if (isChange(event.data)) for (const listener of listeners) listener(event.data);
    };
  }
  return channel;
}

function isChange(value: unknown): value is Change {
  return typeof value === 'object' && value !== null && 'store' in value && 'key' in value && typeof value.store === 'string';
}

/** Says that a record was written or deleted. */
export function notify(store: Change['store'], key: string): void {
  const change: Change = { store, key };
  open()?.postMessage(change);
  for (const listener of listeners) listener(change);
}

/** Calls back after every write, of this context or another. Returns the function that stops it. */
export function onChange(callback: Listener): () => void {
  open();
  listeners.add(callback);
  return () => {
    listeners.delete(callback);
    if (listeners.size === 0) {
      channel?.close();
      channel = undefined;
    }
  };
}
