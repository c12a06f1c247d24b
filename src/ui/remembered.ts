/** What this browser remembers for the page alone: where the tour stands, that the first visit is over. A browser that refuses forgets it with the tab. */
const forTheTab = new Map<string, string>();

export function remembered(key: string): string | undefined {
  try {
    return localStorage.getItem(`maquette.${key}`) ?? undefined;
  } catch {
    return forTheTab.get(key);
  }
}
export function remember(key: string, value: string): void {
  forTheTab.set(key, value);
  try {
    localStorage.setItem(`maquette.${key}`, value);
  } catch {
    // Site data is blocked: the tab still knows.
  }
}
export function forget(key: string): void {
  forTheTab.delete(key);
  try {
    localStorage.removeItem(`maquette.${key}`);
  } catch {
    // Site data is blocked: nothing was kept.
  }
}

const ERASED = 'maquette.erased';
/** For the tab that erased everything: it stays empty until it is closed, or until the person asks for something. Nothing of it is on the disk after that. */
export function rememberErased(): void {
  try {
    sessionStorage.setItem(ERASED, 'yes');
  } catch {
    // Site data is blocked: nothing was kept either.
  }
}
export function wasErased(): boolean {
  try {
    return sessionStorage.getItem(ERASED) !== null;
  } catch {
    return false;
  }
}
