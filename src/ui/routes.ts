import type { AsyncSvelteComponent } from 'svelte-spa-router';

export interface Screen {
  readonly path: string;
  readonly name: string;
  readonly load: AsyncSvelteComponent;
  /** Set a little apart in the navigation: it is about the device, not about the task. */
  readonly apart: boolean;
}

/** The screens in the order of the navigation. Each is its own file of code, loaded when it is first opened. */
export const SCREENS: readonly Screen[] = [
  { path: '/', name: 'Task', load: () => import('./screens/Task.svelte'), apart: false },
  { path: '/data', name: 'Data', load: () => import('./screens/Data.svelte'), apart: false },
  { path: '/prompt', name: 'Prompt', load: () => import('./screens/Prompt.svelte'), apart: false },
  { path: '/train', name: 'Train', load: () => import('./screens/Train.svelte'), apart: false },
  { path: '/chat', name: 'Chat', load: () => import('./screens/Chat.svelte'), apart: false },
  { path: '/export', name: 'Export', load: () => import('./screens/Export.svelte'), apart: false },
  { path: '/models', name: 'Models', load: () => import('./screens/Models.svelte'), apart: true },
];
