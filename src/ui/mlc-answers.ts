// What a person answers where nothing says which token ends an answer, or how a chat is laid out: it becomes the file that was missing, and is kept with the model.
import type { AppError } from '../lib/error.ts';
import type { PickedFile } from '../rpc/contract.ts';

export interface Answer {
  readonly label: string;
  readonly file: { readonly name: string; readonly text: string };
}
export interface Question {
  readonly label: string;
  readonly answers: readonly Answer[];
  /** The answer that is proposed, where something speaks for one. */
  readonly proposed: number;
}

interface Layout {
  readonly label: string;
  /** Tokens that the layout writes. */
  readonly marks: readonly string[];
  /** Names that MLC has for it. */
  readonly names: RegExp;
  readonly jinja: string;
}
const LAYOUTS: readonly Layout[] = [
  {
    label: 'ChatML (SmolLM2, Qwen): <|im_start|>user … <|im_end|>',
    marks: ['<|im_start|>', '<|im_end|>'],
    names: /chatml|qwen|smollm|hermes|orca/i,
    jinja: `{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`,
  },
  {
    label: 'Llama 3: <|start_header_id|>user<|end_header_id|> … <|eot_id|>',
    marks: ['<|start_header_id|>', '<|eot_id|>'],
    names: /llama-?3/i,
    jinja: `{{ '<|begin_of_text|>' }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}`,
  },
  {
    label: 'Zephyr (TinyLlama Chat): <|user|> … </s>',
    marks: ['</s>'],
    names: /zephyr|tinyllama|stablelm/i,
    jinja: `{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '</s>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}`,
  },
  {
    label: 'None: each message on a line of its own',
    marks: [],
    names: /^(LM|plain|completion|gpt2|custom)$/i,
    jinja: `{% for m in messages %}{{ m['content'] + '\\n' }}{% endfor %}`,
  },
];

/** The question that an error asks, with its answers; undefined where it asks none, or nothing can be chosen. */
export function questionOf(error: AppError | undefined): Question | undefined {
  if (error === undefined) return undefined;
  const tokens = specialTokens(error.facts.tokens);
  if (error.code === 'mlc/no-stops') {
    const answers = tokens.map(([id, text]) => ({
      label: `${text} (${id})`,
      file: { name: 'generation_config.json', text: JSON.stringify({ eos_token_id: id }) },
    }));
    return answers.length === 0 ? undefined : { label: 'The token that ends an answer', answers, proposed: 0 };
  }
  if (error.code !== 'mlc/no-layout') return undefined;
  const known = new Set(tokens.map(([, text]) => text));
  const fitting = LAYOUTS.filter(({ marks }) => marks.every((mark) => known.has(mark)));
  const named = fitting.findIndex(({ names }) => names.test(String(error.facts.conv_template)));
  const answers = fitting.map(({ label, jinja }) => ({ label, file: { name: 'chat_template.jinja', text: jinja } }));
  return { label: 'How a chat is laid out', answers, proposed: Math.max(0, named) };
}

/** The files with the answer beside the chat configuration. */
export function withAnswer(picked: readonly PickedFile[], { file }: Answer): readonly PickedFile[] {
  const chat = picked.find(({ path }) => path.endsWith('mlc-chat-config.json'))?.path ?? '';
  const path = `${chat.slice(0, chat.lastIndexOf('/') + 1)}${file.name}`;
  return [...picked.filter((other) => other.path !== path), { path, file: new Blob([file.text]) }];
}

function specialTokens(json: unknown): readonly (readonly [id: number, text: string])[] {
  if (typeof json !== 'string') return [];
  const parsed: unknown = JSON.parse(json);
  return (Array.isArray(parsed) ? parsed : []).flatMap((pair) => {
    const [id, text]: readonly unknown[] = Array.isArray(pair) ? pair : [];
    return typeof id === 'number' && typeof text === 'string' ? [[id, text] as const] : [];
  });
}
