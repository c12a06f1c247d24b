// The worker in which web-llm runs. It is started when someone wants web-llm, and ended when it has gone wrong.
import { serve } from '../src/rpc/rpc.ts';
import { closeNetwork } from '../src/rpc/start-worker.ts';
import type { WebllmApi } from '../src/runtimes/types.ts';
import { webllmApi } from './webllm-api.ts';

serve<WebllmApi>(webllmApi());
// After the modules have run. web-llm itself comes later, by import, and finds no way out.
queueMicrotask(closeNetwork);
