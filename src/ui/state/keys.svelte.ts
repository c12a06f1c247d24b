/** Which action a key stands for on the screen of the moment. The latest to register wins: a dialog over its screen. */
type Action = () => void;
/** True: it was used, and nothing else should happen. */
type Escape = () => boolean;

/** "⌘" on Apple's keyboards, "Ctrl" elsewhere. */
export const MOD = /Mac|iPhone|iPad/.test(navigator.userAgent) ? '⌘' : 'Ctrl';

class KeysState {
  /** "⌘" on Apple's keyboards, "Ctrl" elsewhere. */
  readonly mod = MOD;
  /** The list of keys is open. */
  sheet = $state(false);
  /** The search for screens, contestants and rows is open. */
  find = $state(false);
  readonly #primary: Action[] = [];
  readonly #escape: Escape[] = [];

  /** Mod+Enter. Returns what takes it back, so that it fits `$effect(() => keys.onPrimary(run))`. */
  onPrimary(action: Action): () => void {
    return add(this.#primary, action);
  }
  /** Esc, before a running job is stopped. */
  onEscape(action: Escape): () => void {
    return add(this.#escape, action);
  }
  runPrimary(): boolean {
    const action = this.#primary.at(-1);
    if (action === undefined) return false;
    takeTyped();
    action();
    return true;
  }
  runEscape(): boolean {
    return this.#escape.toReversed().some((action) => action());
  }
}

function add<T>(list: T[], item: T): () => void {
  list.push(item);
  return () => {
    const i = list.lastIndexOf(item);
    if (i >= 0) list.splice(i, 1);
  };
}

/** Some fields say what was typed when they are left. By a key one acts without leaving them, and what stands there counts. */
function takeTyped(): void {
  const field = document.activeElement;
  if (!(field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement)) return;
  field.blur();
  field.focus({ preventScroll: true });
}

/** Is the person writing? Then no single letter is a command. */
export function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !['checkbox', 'radio', 'range', 'button', 'submit', 'file'].includes(target.type);
}

export const keys = new KeysState();
