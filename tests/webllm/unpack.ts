// A model's files as a page gets them from a test, and as web-llm's worker takes them.
import type { WebllmFiles } from '../../src/runtimes/types.ts';

export interface Packed {
  readonly id: string;
  readonly chatConfig: string;
  readonly index: string;
  readonly tokenizer: string;
  readonly shards: readonly { readonly name: string; readonly base64: string }[];
  readonly libraryGzip: string;
}

const bytes = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
async function opened(base64: string): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
export async function unpack({ id, chatConfig, index, tokenizer, shards, libraryGzip }: Packed): Promise<WebllmFiles> {
  return {
    id,
    chatConfig: bytes(chatConfig),
    index: bytes(index),
    tokenizer: bytes(tokenizer),
    shards: shards.map(({ name, base64 }) => ({ name, file: new Blob([bytes(base64)]) })),
    library: await opened(libraryGzip),
  };
}
