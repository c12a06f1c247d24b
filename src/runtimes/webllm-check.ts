// What is handed to web-llm, held against each other before anything of it is stored, run or put on the GPU: web-llm would ask the network for a shard that is
// missing, and its runtime ends without a reason where names or shapes differ.
import { memorySource } from '../formats/bytes.ts';
import { badChatConfig } from '../formats/mlc-config.ts';
import { readMlcIndex } from '../formats/mlc-index.ts';
import { checkMlcLibrary, type MlcLibrary, readMlcLibrary } from '../formats/mlc-library.ts';
import { property, readJsonFile } from '../formats/model-files.ts';
import type { ByteSource } from '../formats/types.ts';
import { AppError } from '../lib/error.ts';
import type { WebllmFiles } from './types.ts';
import { CONTEXT } from './webllm-memory.ts';

export interface CheckedFiles {
  readonly library: MlcLibrary['metadata'];
  /** mlc-chat-config.json as web-llm is given it: what it needs to run token ids, and nothing that changes a logit. */
  readonly chatConfig: Uint8Array<ArrayBuffer>;
  /** Sums of the shards that the index states, by name. */
  readonly md5: ReadonlyMap<string, string>;
}

/** @throws 'mlc/...', 'format/...', 'webllm/library-kind' */
export async function checkFiles({ chatConfig, index, tokenizer, shards, library }: WebllmFiles): Promise<CheckedFiles> {
  const folder = new Map(shards.map(({ name, file }) => [name, fileSource(name, file)]));
  const indexed = await readMlcIndex(memorySource('tensor-cache.json', index), folder);
  const read = await readMlcLibrary(memorySource('the model library', library));
  checkMlcLibrary(read, indexed);
  const { metadata } = read;
  if ((metadata.kv_state_kind ?? 'kv_cache') !== 'kv_cache' || (metadata.sliding_window_size ?? -1) > 0)
    throw new AppError('webllm/library-kind', 'The model library keeps its state in another way than a cache of keys and values.', {
      why: `It says: ${metadata.kv_state_kind ?? 'kv_cache'}, sliding window ${metadata.sliding_window_size ?? -1}.`,
      fix: 'Get a library without a sliding window, or run the model in our engine.',
    });
  const tokens = await readJsonFile(memorySource('tokenizer.json', tokenizer));
  if (property(tokens, 'model') === undefined)
    throw new AppError('mlc/tokenizer', 'tokenizer.json describes no tokenizer: it has no "model".', {
      why: 'The file is damaged, or another one was saved under its name.',
      fix: 'Get it again from where the shards came from.',
    });
  const md5 = new Map(indexed.shards.flatMap(({ file, md5: sum }) => (sum === undefined ? [] : [[file.name, sum] as const])));
  return { library: metadata, chatConfig: neutral(await readJsonFile(memorySource('mlc-chat-config.json', chatConfig)), metadata), md5 };
}

/** Prompts come in as token ids and tokens are drawn by us. So web-llm gets numbers alone: the vocabulary, the context and a sampling that changes no logit (it
 *  would apply the config's penalties to the logits that ours are read from, and refuses a config without them), and a chat layout that nothing uses. */
function neutral(json: object, metadata: MlcLibrary['metadata']): Uint8Array<ArrayBuffer> {
  const vocabulary = wholeNumber(json, 'vocab_size') ?? wholeNumber(property(json, 'model_config'), 'vocab_size');
  if (vocabulary === undefined) throw badChatConfig('it has no vocab_size');
  const embedding = metadata.params.find(({ name }) => /^(?:model\.embed_tokens|lm_head)\.(?:q_)?weight$/.test(name));
  if (embedding !== undefined && embedding.shape[0] !== vocabulary)
    throw badChatConfig(`its vocab_size is ${vocabulary}, and the model library was built for ${embedding.shape[0]} tokens`);
  const stated = wholeNumber(json, 'context_window_size') ?? wholeNumber(property(json, 'model_config'), 'context_window_size');
  const context = stated ?? metadata.context_window_size ?? undefined;
  if (context === undefined || context <= 0) throw badChatConfig('it has no context_window_size');
  return new TextEncoder().encode(
    JSON.stringify({
      vocab_size: vocabulary,
      context_window_size: Math.min(context, CONTEXT),
      sliding_window_size: -1,
      attention_sink_size: -1,
      tokenizer_files: ['tokenizer.json'],
      tokenizer_info: { token_postproc_method: 'byte_level', prepend_space_in_encode: false, strip_space_in_decode: false },
      conv_template: {
        system_template: '{system_message}',
        system_message: '',
        roles: { user: '', assistant: '' },
        role_templates: { user: '{user_message}', assistant: '{assistant_message}' },
        seps: [''],
        stop_str: [],
        stop_token_ids: [],
      },
      temperature: 0,
      top_p: 1,
      repetition_penalty: 1,
      frequency_penalty: 0,
      presence_penalty: 0,
    }),
  );
}

function wholeNumber(json: unknown, name: string): number | undefined {
  const value = property(json, name);
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

const fileSource = (name: string, file: Blob): ByteSource => ({
  name,
  size: file.size,
  read: async (start, end) => new Uint8Array(await file.slice(start, end).arrayBuffer()),
});
