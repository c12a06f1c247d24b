import { afterEach, expect, test } from 'vitest';
import { AppError } from '../../src/lib/error.ts';
import type { TemplateApi } from '../../src/rpc/contract.ts';
import { connect, serve } from '../../src/rpc/rpc.ts';
import { renderTemplate } from '../../src/text/chat-template.ts';
import type { TemplateContext } from '../../src/text/types.ts';
import { createTemplateRenderer, type TemplateWorker } from '../../workers/engine/templates.ts';

const context: TemplateContext = { messages: [{ role: 'user', content: 'Hi' }], addGenerationPrompt: true, bosToken: '', eosToken: '' };
const ENDLESS = 'endless';
const ports: MessagePort[] = [];
let started = 0;
let ended = 0;
let renders = 0;

/** The template worker's own api over a channel; `endless` stands for a template that never ends, which would block a real thread. */
function start(): TemplateWorker {
  started++;
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  serve<TemplateApi>(
    {
      ready: async () => undefined,
      render: (source, given) => {
        renders++;
        return source === ENDLESS ? new Promise(() => undefined) : Promise.resolve(renderTemplate(source, given));
      },
    },
    port1,
  );
  return { connection: connect<TemplateApi>(port2), terminate: () => void ended++ };
}
afterEach(() => {
  for (const port of ports.splice(0)) port.close();
  started = 0;
  ended = 0;
  renders = 0;
});

test('the same render is asked for once', async () => {
  const { render } = createTemplateRenderer(start);
  const source = '{{ messages[0].content }}!';
  expect(await render(source, context)).toBe('Hi!');
  expect(await render(source, context)).toBe('Hi!');
  expect(renders).toBe(1);
});

test('a template that never ends is ended, and the next one gets a fresh worker', async () => {
  const { render } = createTemplateRenderer(start, 50);
  const hanging = render(ENDLESS, context);
  const waiting = render('{{ messages[0].role }}', context);
  await expect(hanging).rejects.toMatchObject({ code: 'template/timeout' });
  expect(await waiting).toBe('user');
  expect([started, ended]).toEqual([2, 1]);
});

test("a template's own failure keeps its worker", async () => {
  const { render } = createTemplateRenderer(start);
  await expect(render("{{ raise_exception('no system prompt') }}", context)).rejects.toMatchObject({ code: 'template/failed' });
  expect(await render('ok', context)).toBe('ok');
  expect([started, ended]).toEqual([1, 0]);
});

test('a worker whose program the site did not give is said to be missing, and the next render starts another one', async () => {
  const missing = new AppError('app/part-missing', 'A part of this program could not be loaded.');
  let tries = 0;
  const { ready, render } = createTemplateRenderer(() => {
    if (++tries > 2) return start();
    const { port1, port2 } = new MessageChannel();
    ports.push(port1, port2);
    const connection = connect<TemplateApi>(port2);
    setTimeout(() => connection.end(missing));
    return { connection, terminate: () => void ended++ };
  });
  await expect(ready()).rejects.toBe(missing);
  await expect(render('{{ messages[0].role }}', context)).rejects.toBe(missing);
  expect(await render('{{ messages[0].role }}', context)).toBe('user');
  expect([started, ended]).toEqual([1, 2]);
});
