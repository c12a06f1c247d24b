import type { BrowserContext, Page } from '@playwright/test';

/** Every sign of a request to another origin, as it happens: requests (blocked ones too), WebSockets, and what the policy refused. */
export interface Traffic {
  readonly foreign: readonly string[];
}

export function watchTraffic(context: BrowserContext, origin: string): Traffic {
  const foreign: string[] = [];
  const isOurs = (url: string): boolean =>
    url.startsWith(`${origin}/`) || url.startsWith('blob:') || url.startsWith('data:') || url === 'about:blank';
  const watchPage = (page: Page): void => {
    page.on('websocket', (socket) => foreign.push(`websocket ${socket.url()}`));
    page.on('console', (message) => {
      if (/Content Security Policy|Content-Security-Policy|violates the following/i.test(message.text()))
        foreign.push(`policy: ${message.text()}`);
    });
  };
  context.on('request', (request) => {
    if (!isOurs(request.url())) foreign.push(`request ${request.url()}`);
  });
  context.on('page', watchPage);
  for (const page of context.pages()) watchPage(page);
  return { foreign };
}
