// The worker in which a model's chat template runs. A template is a program from a stranger: nothing else lives here, and it is ended when it takes long.
import type { TemplateApi } from '../src/rpc/contract.ts';
import { serve } from '../src/rpc/rpc.ts';
import { closeNetwork } from '../src/rpc/start-worker.ts';
import { renderTemplate } from '../src/text/chat-template.ts';

const api: TemplateApi = {
  ready: async () => undefined,
  render: async (source, context) => renderTemplate(source, context),
};
serve<TemplateApi>(api);
// After the modules have run: nothing that comes later reaches the network.
queueMicrotask(closeNetwork);
