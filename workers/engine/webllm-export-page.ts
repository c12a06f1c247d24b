// The texts of an export for web-llm: the lines that load it, as a page and as a program of few lines, and what lies in the folder.

/** What the page is about. */
export interface PageFacts {
  /** Of the contestant, and of its base model. */
  readonly name: string;
  readonly model: string;
  readonly hasAdapter: boolean;
  /** The chat layout of the model could be said in conv_template: web-llm's own chat lays prompts out right. */
  readonly chats: boolean;
}

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] ?? c);

export function indexHtml({ name, model, hasAdapter }: PageFacts): string {
  return [
    '<!doctype html>',
    '<html lang="en">',
    '  <head>',
    '    <meta charset="utf-8">',
    '    <meta name="viewport" content="width=device-width">',
    `    <title>${escaped(name)} in web-llm</title>`,
    '    <script type="importmap">{ "imports": { "@mlc-ai/web-llm": "./node_modules/@mlc-ai/web-llm/lib/index.js" } }</script>',
    '  </head>',
    '  <body>',
    `    <h1>${escaped(name)}</h1>`,
    `    <p>${escaped(model)} in web-llm. <span id="state" role="status">Loading</span></p>`,
    '    <form id="form">',
    '      <p><label>Input<br><textarea id="input" rows="4" cols="60" required></textarea></label></p>',
    ...(hasAdapter
      ? ['      <p><label>Strength of the adapter <input id="strength" type="range" min="0" max="1.5" step="0.05" value="1"></label></p>']
      : []),
    '      <p><button id="ask" disabled>Answer</button></p>',
    '    </form>',
    '    <pre id="answer" style="white-space: pre-wrap"></pre>',
    '    <script type="module">',
    `      import { answer${hasAdapter ? ', setStrength' : ''}, load } from './main.js';`,
    '      const $ = (id) => document.getElementById(id);',
    "      const failed = (error) => { $('state').textContent = String(error); };",
    "      $('form').addEventListener('submit', async (event) => {",
    '        event.preventDefault();',
    "        $('ask').disabled = true;",
    '        try {',
    ...(hasAdapter ? ["          await setStrength(Number($('strength').value));"] : []),
    "          $('answer').textContent = await answer($('input').value);",
    '        } catch (error) { failed(error); }',
    "        $('ask').disabled = false;",
    '      });',
    "      load((text) => { $('state').textContent = text; }).then(() => {",
    "        $('state').textContent = 'Ready';",
    "        $('ask').disabled = false;",
    '      }, failed);',
    '    </script>',
    '  </body>',
    '</html>',
    '',
  ].join('\n');
}

/** The lines that load it. `load` takes a configuration of web-llm's engine, for those who want more of it. */
export function mainJs({ hasAdapter, chats }: PageFacts): string {
  return [
    '// Loads this folder into web-llm 0.2.86 and answers. Nothing is fetched from anywhere but this folder.',
    "import { MLCEngine } from '@mlc-ai/web-llm';",
    ...(hasAdapter ? ["import { loadWithAdapters } from './maquette-webllm.js';"] : []),
    '',
    "const at = (path) => new URL(path, new URL('.', import.meta.url)).href;",
    'const get = async (path) => {',
    '  const reply = await globalThis.fetch(at(path));',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a program is written here
    '  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);',
    '  return reply;',
    '};',
    "const prompt = await (await get('prompt.json')).json();",
    "const record = await (await get('record.json')).json();",
    'record.model = at(record.model);',
    'record.model_lib = at(record.model_lib);',
    '',
    'export let engine;',
    ...(hasAdapter ? ['let adapters;'] : []),
    '',
    'export async function load(onText = () => undefined, config = {}) {',
    '  engine = new MLCEngine({ appConfig: { model_list: [record] }, initProgressCallback: ({ text }) => onText(text), ...config });',
    ...(hasAdapter
      ? [
          '  // The adapter stays beside the weights: nothing is merged, and its strength may change between answers.',
          '  adapters = await loadWithAdapters(engine, record.model_id);',
          "  const factors = await (await get('adapter/factors.json')).json();",
          "  const weights = new Uint8Array(await (await get('adapter/adapter_model.safetensors')).arrayBuffer());",
          "  adapters.add('adapter', factors, weights);",
          '  await setStrength(1);',
        ]
      : ['  await engine.reload(record.model_id);']),
    '}',
    ...(hasAdapter
      ? [
          '',
          '/** 0 to 1.5; 0 is the model as it came. */',
          'export function setStrength(strength) {',
          "  return adapters.use([{ id: 'adapter', strength }]);",
          '}',
        ]
      : []),
    '',
    '/** The greedy answer to one input, with the words of prompt.json around it. */',
    'export async function answer(input, maxTokens = 256) {',
    '  await engine.resetChat();',
    ...(chats
      ? [
          "  const messages = [...prompt.messages, { role: 'user', content: input + prompt.cue }];",
          '  const reply = await engine.chat.completions.create({ messages, temperature: 0, max_tokens: maxTokens });',
          '  return reply.choices[0].message.content;',
        ]
      : [
          '  // conv_template cannot say how chats with this model are laid out: the text around the input is in prompt.json.',
          '  const text = prompt.rendered.before + input + prompt.rendered.after;',
          '  const reply = await engine.completions.create({ prompt: text, temperature: 0, max_tokens: maxTokens });',
          '  return reply.choices[0].text;',
        ]),
    '}',
    '',
  ].join('\n');
}

export function readmeTxt({ name, model, hasAdapter, chats }: PageFacts, library: string): string {
  return [
    `${name}`,
    `on ${model}, for web-llm 0.2.86 (npm: @mlc-ai/web-llm)`,
    '',
    'To run it, in this folder:',
    '',
    '  npm install @mlc-ai/web-llm@0.2.86',
    '  python3 -m http.server 8000',
    '',
    'and open http://localhost:8000 in a browser with WebGPU. Any web server does; away from localhost it must be https.',
    '',
    'record.json         the record for appConfig.model_list; main.js makes its two addresses whole',
    `main.js             the lines that load it: load(), answer(input)${hasAdapter ? ', setStrength(0 to 1.5)' : ''}`,
    'index.html          a page around them',
    'model/resolve/main  shards, tensor-cache.json, mlc-chat-config.json, tokenizer.json',
    `library.wasm        the model library; ${library}`,
    'prompt.json         the words around the input: as messages, and as text before and after it ("rendered")',
    ...(hasAdapter
      ? [
          'adapter             the LoRA as a PEFT folder, and factors.json with the scale of each module',
          'maquette-webllm.js  applies it to an MLCEngine in this thread, unmerged: loadWithAdapters(engine, model_id), then add and use',
        ]
      : []),
    '',
    chats
      ? "web-llm's own chat lays a conversation out as this model expects it (conv_template in mlc-chat-config.json)."
      : "web-llm's own chat does not lay conversations out as this model expects it; main.js uses prompt.json and text completion.",
    ...(hasAdapter
      ? [
          'The adapter needs web-llm 0.2.86 exactly, and a model library whose kernels it can read: a kernel that it does not know is refused by',
          'name, and no answer is given. Trained weights can reproduce text that they were trained on.',
        ]
      : []),
    'A model library contains the runtime of Apache TVM (Apache License 2.0; Copyright The Apache Software Foundation): library-LICENSE.txt.',
    '',
  ].join('\n');
}
