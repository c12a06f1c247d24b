// web-llm's worker with one mistake planted: q, k and v take the weight for their input, as a reader would that knows bindings by their place.
import { serve } from '../../../src/rpc/rpc.ts';
import type { WebllmApi } from '../../../src/runtimes/types.ts';
import { readProduct } from '../../../src/runtimes/wgsl-product.ts';
import { webllmApi } from '../../../workers/webllm-api.ts';

serve<WebllmApi>(
  webllmApi((code, entry, weights) => {
    const reading = readProduct(code, entry, weights);
    return reading.known && code.includes('qkv_proj') ? { ...reading, input: weights[0] } : reading;
  }),
);
