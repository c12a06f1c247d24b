// What takes a moment stands still while its picture is taken: the engine's worker waits where it reads from the GPU or from a file.
import { expect, type Page } from '@playwright/test';

const ENGINE = /assets\/engine-[^/]*\.js$/;
const CHANNEL = 'maquette tests: hold';

export interface Hold {
  /** From the next read on nothing goes further; `files` are the bytes of a model after the first that went onto the GPU, `gpu` is everything that comes back from the GPU. */
  stop(what: 'files' | 'gpu'): Promise<void>;
  go(): Promise<void>;
  /** Resolves when a read is being held. */
  reached(): Promise<void>;
}

/** For pages that are opened after this. The engine is the built one; before it stand some lines that can make the browser's answers late. */
export async function holdEngine(page: Page): Promise<Hold> {
  await page.route(ENGINE, async (route) => {
    const answer = await route.fetch();
    const shim = `
      {
        const channel = new BroadcastChannel('${CHANNEL}');
        let held = '', free = [], writes = 0;
        channel.onmessage = ({ data }) => {
          if (data.hold === undefined) return;
          held = data.hold; writes = 0;
          if (held === '') { for (const go of free) go(); free = []; }
        };
        const wait = async (what) => {
          while (held === what) { channel.postMessage({ reached: what }); await new Promise((go) => free.push(go)); }
        };
        const map = GPUBuffer.prototype.mapAsync, bytes = Blob.prototype.arrayBuffer, write = GPUQueue.prototype.writeBuffer;
        GPUQueue.prototype.writeBuffer = function (...args) { writes++; return write.apply(this, args); };
        GPUBuffer.prototype.mapAsync = async function (...args) { await wait('gpu'); return map.apply(this, args); };
        Blob.prototype.arrayBuffer = async function () { if (this.size > 1000 && writes > 0) await wait('files'); return bytes.call(this); };
      }
    `;
    await route.fulfill({ response: answer, body: `${shim}\n${await answer.text()}` });
  });
  const tell = (hold: string) =>
    page.evaluate(
      ([channel, what]) => {
        const own = new BroadcastChannel(channel);
        document.body.dataset.reached = '';
        if (what !== '') {
          own.onmessage = ({ data }) => {
            if (data.reached === what) document.body.dataset.reached = what;
          };
        }
        own.postMessage({ hold: what });
      },
      [CHANNEL, hold] as const,
    );
  return {
    stop: tell,
    go: () => tell(''),
    reached: () => expect(page.locator('body')).not.toHaveAttribute('data-reached', '', { timeout: 60_000 }),
  };
}

const CALLS = 'maquette tests: calls';

export interface HeldCalls {
  /** From now on calls of this function of the engine wait, all others are answered. */
  hold(name: string): Promise<void>;
  go(): Promise<void>;
}
/** For pages that are opened after this: the engine's worker answers as late as a slow device would, by the name of what is asked of it. */
export async function holdCalls(page: Page): Promise<HeldCalls> {
  await page.route(ENGINE, async (route) => {
    const answer = await route.fetch();
    const shim = `
      {
        const channel = new BroadcastChannel('${CALLS}'), listen = self.addEventListener;
        let held = '', waiting = [];
        channel.onmessage = ({ data }) => {
          held = data;
          if (held === '') for (const go of waiting.splice(0)) go();
        };
        self.addEventListener = (type, listener, ...rest) =>
          listen.call(self, type, type !== 'message' ? listener : (event) => {
            const answer = () => listener.call(self, event);
            if (held !== '' && event.data?.path?.[0] === held) waiting.push(answer);
            else answer();
          }, ...rest);
      }
    `;
    await route.fulfill({ response: answer, body: `${shim}\n${await answer.text()}` });
  });
  const tell = (name: string) =>
    page.evaluate(
      ([channel, what]) => {
        const own = new BroadcastChannel(channel);
        own.postMessage(what);
        own.close();
      },
      [CALLS, name] as const,
    );
  return { hold: tell, go: () => tell('') };
}
