// Chat templates as conv_template: what web-llm's own chat will say to an exported model.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Template } from '@huggingface/jinja';
import { expect, test } from 'vitest';
import { type ChatTurn, conversationOf, layOut, type RenderChat } from '../../src/formats/mlc-conversation.ts';
import { mlcTemplate } from '../../src/formats/mlc-template.ts';

const rendering =
  (source: string): RenderChat =>
  async (messages, add_generation_prompt) =>
    new Template(source).render({ messages: [...messages], add_generation_prompt, bos_token: '<s>', eos_token: '</s>' });
const FIRST = { id: 1, text: '<s>' };
const templateOf = (folder: string): string =>
  JSON.parse(readFileSync(path.resolve(import.meta.dirname, '../..', folder, 'tokenizer_config.json'), 'utf8')).chat_template;
const TURNS: readonly ChatTurn[] = [
  { role: 'system', content: 'Be $& brief.' },
  { role: 'user', content: 'One $1?' },
  { role: 'assistant', content: 'Two.' },
  { role: 'user', content: 'Three?' },
];

const NAMED = {
  'the model of the site': templateOf('public/models/vale-micro'),
  'ChatML of the llama fixture': templateOf('tests/fixtures/models/llama'),
  'a system text of its own where there is none': `{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`,
  'more in front of an answer to come': `{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '[assistant]<think></think>' }}{% endif %}`,
};
test.each(Object.entries(NAMED))('%s: laid out as the template does it, and read back as a template', async (_, source) => {
  const made = await conversationOf(rendering(source), [5], FIRST);
  expect(made).toBeDefined();
  if (made === undefined) return;
  const read = mlcTemplate(made, { added_tokens: [{ id: 1, content: '<s>' }] }) ?? '';
  for (const chat of [TURNS, TURNS.slice(1), TURNS.slice(1, 2)]) {
    const expected = await rendering(source)(chat, true);
    expect(layOut(made, chat, FIRST)).toBe(expected);
    expect(await rendering(read)(chat, true)).toBe(expected);
  }
  expect(made.stop_token_ids).toEqual([5]);
});

test('the begin token goes in front as an id, and only where the template writes it', async () => {
  const site = await conversationOf(rendering(NAMED['the model of the site']), [5], FIRST);
  expect(site?.system_prefix_token_ids).toEqual([1]);
  const chatml = await conversationOf(rendering(NAMED['ChatML of the llama fixture']), [5], FIRST);
  expect(chatml?.system_prefix_token_ids).toBeUndefined();
});

const LLAMA2 = `{% for m in messages %}{% if m['role'] == 'system' %}{{ '[INST] <<SYS>>\\n' + m['content'] + '\\n<</SYS>>\\n\\n' }}{% elif m['role'] == 'user' %}{{ ('' if loop.index0 == 1 and messages[0]['role'] == 'system' else '[INST] ') + m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + ' </s>' }}{% endif %}{% endfor %}`;
test.each([
  ['a system text within the first turn', LLAMA2],
  ['turns that are numbered', `{% for m in messages %}{{ loop.index0 ~ m['role'] + ':' + m['content'] }}{% endfor %}{{ 'assistant:' }}`],
  [
    'a template that refuses system texts',
    `{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m['content'] }}{% endfor %}`,
  ],
  [
    'a template that leaves system texts out',
    `{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }};{% endif %}{% endfor %}`,
  ],
])('%s cannot be said', async (_, source) => {
  expect(await conversationOf(rendering(source), [5], FIRST)).toBeUndefined();
});
