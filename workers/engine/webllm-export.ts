/// <reference path="../webllm-module.d.ts" />
// A contestant as a folder that the npm package of web-llm loads from any web server: shards, library and record, the words around the input, and a LoRA with
// the module that applies it, unmerged.
import { baseName } from '../../src/formats/bytes.ts';
import { type ChatTurn, conversationOf, type MlcConversation } from '../../src/formats/mlc-conversation.ts';
import { CHAT_CONFIG } from '../../src/formats/mlc-source.ts';
import { mlcBytes, mlcChatConfig } from '../../src/formats/mlc-write.ts';
import { property, readJsonFile } from '../../src/formats/model-files.ts';
import { openModel } from '../../src/formats/open-model.ts';
import { peft } from '../../src/formats/peft.ts';
import type { ModelSource } from '../../src/formats/types.ts';
import { AppError } from '../../src/lib/error.ts';
import { composeMessages } from '../../src/methods/compose.ts';
import type { ExportedFile, ExportTarget } from '../../src/rpc/contract.ts';
import { readBlob } from '../../src/storage/blob-writer.ts';
import { blobFile, openBlob } from '../../src/storage/blobs.ts';
import type { AdapterRecord, ContestantRecord, ModelRecord } from '../../src/storage/types.ts';
import { createPromptRenderer, plainPrompt } from '../../src/text/prompt.ts';
import { createTokenizer, specialText } from '../../src/text/tokenizer.ts';
import type { TemplateRenderer } from '../../src/text/types.ts';
import { adapterFiles, scaleOf } from './adapters.ts';
import { promptBytes } from './contestants.ts';
import { fileStem } from './file-stem.ts';
import { part } from './part.ts';
import { indexHtml, mainJs, type PageFacts, readmeTxt } from './webllm-export-page.ts';
import { keptFor, unpacked } from './webllm-files.ts';
import { type ZipEntry, zipOf } from './zip-blob.ts';

/** web-llm allocates keys and values for the whole context when it loads; configurations of today state far more than fits. */
const CONTEXT = 4096;
/** Of page, module, licence and record, about. */
const TEXT_BYTES = 70_000;
/** Where web-llm looks for a model's files below its address. */
const FOLDER = 'model/resolve/main/';
/** Stands for the input. Ordinary letters, so that no template reacts to it. */
const INPUT = 'maquetteinput';

const licenceText = () => part(() => import('./apache-license.txt?raw'));
const moduleText = () => part(() => import('virtual:webllm-module'));

export interface WebllmExported {
  readonly contestant: ContestantRecord;
  readonly adapter: AdapterRecord | undefined;
  readonly model: ModelRecord;
}

/** What it will hold. Where no library is here, it says so, and its size is without the library. Undefined where MLC's layout does not have the model's shape. */
export function webllmTarget({ contestant, adapter, model }: WebllmExported): ExportTarget | undefined {
  const kept = keptFor(model);
  // Whoever looks at it may be without the network when it is saved.
  if (kept !== undefined) void Promise.allSettled([licenceText(), moduleText()]);
  let bytes = TEXT_BYTES + promptBytes(contestant.prompt) + (adapter?.bytes ?? 0);
  if (kept !== undefined)
    bytes += [...kept.files.filter(({ name }) => !name.endsWith('.wasm')), kept.library].reduce((sum, file) => sum + file.bytes, 0);
  else if (model.format === 'mlc') bytes += model.bytes;
  else {
    try {
      mlcChatConfig({ config: model.config, tokenizer: { json: {}, config: {} } }, 'q0f32');
    } catch (error) {
      if (error instanceof AppError) return undefined;
      throw error;
    }
    bytes += mlcBytes(model.config, { quantization: 'q0f32', floats: 'f32' });
  }
  const name = `${fileStem(contestant.name)}-webllm.zip`;
  const facts = { name: contestant.name, model: model.name, hasAdapter: adapter !== undefined, chats: true };
  return {
    format: 'webllm',
    name: 'web-llm',
    summary:
      adapter === undefined
        ? 'The model in MLC’s layout with its library and your words, as a folder that the npm package of web-llm loads from any web server.'
        : 'The model in MLC’s layout, its library, and the add-on with a small module that applies it inside the npm package of web-llm, unmerged.',
    files: [name],
    bytes,
    limits:
      adapter === undefined
        ? 'Needs web-llm 0.2.86 and WebGPU where it runs. The whole model is inside.'
        : 'Needs web-llm 0.2.86 exactly, and WebGPU where it runs. The whole model is inside, and the add-on can repeat texts that it was trained on.',
    howTo: {
      language: 'js',
      code: mainJs(facts),
      note: `Unpack ${name}, run npm install @mlc-ai/web-llm@0.2.86 in its folder, and serve it: index.html is a page around these lines, and they are its main.js.`,
    },
    ...(kept === undefined ? { needs: 'library' as const } : {}),
  };
}

/** The .zip. Shards stay on the disk: each is read once, in pieces, for its sum. @throws 'webllm/not-prepared', 'export/too-large', 'storage/...' */
export async function webllmZip(exported: WebllmExported, templates: TemplateRenderer): Promise<ExportedFile> {
  const { contestant, adapter, model } = exported;
  const kept = keptFor(model);
  if (kept === undefined)
    throw new AppError('webllm/not-prepared', `${model.name} has no library for web-llm here.`, {
      why: 'Web-llm runs a model by a library that was built for its shape.',
      fix: 'Prepare it here or on the Models screen first.',
    });
  const own = await openModel(await Promise.all(kept.files.filter(({ name }) => !name.endsWith('.wasm')).map(openBlob)));
  const layout = await layoutOf(own, templates);
  const files: ZipEntry[] = [];
  let chats = true;
  for (const file of kept.files) {
    const name = baseName(file.name);
    if (name.endsWith('.wasm')) continue;
    if (name !== CHAT_CONFIG) {
      files.push({ name: FOLDER + name, content: await blobFile(file) });
      continue;
    }
    const config = await readJsonFile(await openBlob(file));
    const said = withLayout(config, layout);
    chats = said !== undefined;
    files.push({ name: FOLDER + name, content: json(said ?? config) });
  }
  const facts: PageFacts = { name: contestant.name, model: model.name, hasAdapter: adapter !== undefined, chats };
  const modelId = `${fileStem(model.name)}-${model.id.slice(0, 8)}`;
  const record = {
    model: 'model/',
    model_id: modelId,
    model_lib: 'library.wasm',
    ...(own.config.context > CONTEXT ? { overrides: { context_window_size: CONTEXT } } : {}),
  };
  const { default: licence } = await licenceText();
  const entries: ZipEntry[] = [
    { name: 'README.txt', content: readmeTxt(facts, `${baseName(kept.library.name)}, ${kept.library.bytes} bytes here`) },
    { name: 'index.html', content: indexHtml(facts) },
    { name: 'main.js', content: mainJs(facts) },
    { name: 'record.json', content: json(record) },
    { name: 'prompt.json', content: json(await promptJson(contestant, own, templates)) },
    ...(adapter === undefined ? [] : await adapterEntries(adapter, model, modelId)),
    { name: 'library-LICENSE.txt', content: licence },
    { name: 'library.wasm', content: await unpacked(await readBlob(kept.library)) },
    ...files,
  ];
  return { name: `${fileStem(contestant.name)}-webllm.zip`, mime: 'application/zip', content: await zipOf(entries) };
}

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** The chat layout of a model as web-llm's own chat takes it. */
async function layoutOf({ tokenizer: spec, config }: ModelSource, templates: TemplateRenderer): Promise<MlcConversation | undefined> {
  const { chatTemplate } = spec;
  if (chatTemplate === undefined) return undefined;
  const tokenizer = createTokenizer(spec);
  const [bosToken, eosToken] = [specialText(spec, 'bos_token'), specialText(spec, 'eos_token')];
  const renderer = createPromptRenderer({ tokenizer, spec, config, templates });
  // Its stops are known from the first prompt on.
  await renderer.prompt([{ role: 'user', content: INPUT }]);
  const ids = bosToken === '' ? [] : [...tokenizer.encode(bosToken, { addSpecial: false })];
  const first = ids.length === 1 ? { id: ids[0], text: bosToken } : undefined;
  const render = (messages: readonly ChatTurn[], addGenerationPrompt: boolean): Promise<string> =>
    templates.render(chatTemplate, { messages, addGenerationPrompt, bosToken, eosToken });
  return conversationOf(render, renderer.stopIds, first);
}

/** The chat configuration with the layout in it. One that came with its own layout is left alone; undefined where the layout cannot be said. */
function withLayout(config: object, layout: MlcConversation | undefined): object | undefined {
  const own = property(config, 'conv_template');
  const isOurs = property(own, 'name') === 'LM' && property(property(own, 'roles'), 'user') === '';
  // Of some models the file only names a layout that MLC keeps in its own source, which web-llm does not have.
  if (!isOurs && property(own, 'roles') !== undefined) return config;
  return layout === undefined ? undefined : { ...config, conv_template: layout };
}

/** The prompt as this app reads it back, as messages for web-llm's chat, and as the text around the input. */
async function promptJson(
  { name, prompt }: ContestantRecord,
  { tokenizer: spec }: ModelSource,
  templates: TemplateRenderer,
): Promise<object> {
  const messages = composeMessages(prompt, [{ role: 'user', content: INPUT }]);
  const cue = messages.at(-1)?.content.slice(INPUT.length) ?? '';
  const text =
    spec.chatTemplate === undefined
      ? plainPrompt(messages)
      : await templates.render(spec.chatTemplate, {
          messages,
          addGenerationPrompt: true,
          bosToken: specialText(spec, 'bos_token'),
          eosToken: specialText(spec, 'eos_token'),
        });
  const at = text.lastIndexOf(INPUT);
  const rendered = { before: text.slice(0, Math.max(0, at)), after: at < 0 ? '' : text.slice(at + INPUT.length) };
  return { format: 'maquette-prompt', version: 1, name, prompt, messages: messages.slice(0, -1), cue, rendered };
}

async function adapterEntries(adapter: AdapterRecord, model: ModelRecord, base: string): Promise<readonly ZipEntry[]> {
  const files = await adapterFiles(adapter);
  const { modules, rsLora } = peft.read(files, model.config);
  const factors = Object.fromEntries(modules.map((lora) => [lora.module, { rank: lora.rank, scale: scaleOf(lora, rsLora) }]));
  const { source } = await moduleText();
  return [
    { name: 'maquette-webllm.js', content: source },
    { name: 'adapter/factors.json', content: json({ format: 'maquette-webllm-lora', version: 1, base, modules: factors }) },
    ...[...files].map(([name, bytes]): ZipEntry => ({ name: `adapter/${name}`, content: new Uint8Array(bytes) })),
  ];
}
