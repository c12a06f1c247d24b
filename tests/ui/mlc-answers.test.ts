// What is asked where nothing says how an answer ends or a chat is laid out, and that the answer opens the model.
import { Template } from '@huggingface/jinja';
import { expect, test } from 'vitest';
import { memorySource } from '../../src/formats/bytes.ts';
import { openModel } from '../../src/formats/open-model.ts';
import type { ModelSource } from '../../src/formats/types.ts';
import { AppError } from '../../src/lib/error.ts';
import type { PickedFile } from '../../src/rpc/contract.ts';
import { questionOf, withAnswer } from '../../src/ui/mlc-answers.ts';
import { fixtureFiles } from '../support/files.ts';

const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);
/** The fixture without what says how an answer ends and how a chat is laid out. */
function bare(change: (chat: Record<string, unknown>) => void): readonly PickedFile[] {
  return [...fixtureFiles('quant/llama/mlc_q4f32_1')]
    .filter(([name]) => !/^expected|^tokenizer_config|^generation/.test(name))
    .map(([name, bytes]) => {
      const chat = name === 'mlc-chat-config.json' ? JSON.parse(text(bytes)) : undefined;
      if (chat !== undefined) change(chat);
      return { path: `m/${name}`, file: new Blob([chat === undefined ? new Uint8Array(bytes) : JSON.stringify(chat)]) };
    });
}
async function open(picked: readonly PickedFile[]): Promise<ModelSource | AppError> {
  const files = await Promise.all(picked.map(async ({ path, file }) => memorySource(path, new Uint8Array(await file.arrayBuffer()))));
  return openModel(files).catch((error: unknown) => {
    if (error instanceof AppError) return error;
    throw error;
  });
}
function asked(opened: ModelSource | AppError, code: string) {
  expect(opened).toMatchObject({ code });
  const question = questionOf(opened instanceof AppError ? opened : undefined);
  if (question === undefined) throw new Error('nothing is asked');
  return question;
}

test('which token ends an answer is asked of the tokenizer’s special tokens, then how a chat is laid out; both are kept as files', async () => {
  const picked = bare((chat) => {
    delete chat.eos_token_id;
    chat.conv_template = 'chatml';
  });
  const stop = asked(await open(picked), 'mlc/no-stops');
  expect(stop.answers.length).toBeGreaterThan(1);
  const [first] = stop.answers;
  const withStop = withAnswer(picked, first);
  const layout = asked(await open(withStop), 'mlc/no-layout');
  const none = layout.answers.at(-1);
  expect(none?.label).toMatch(/^None/);
  if (none === undefined) return;
  const both = withAnswer(withStop, none);
  expect(both.slice(-2).map(({ path }) => path)).toEqual(['m/generation_config.json', 'm/chat_template.jinja']);
  const opened = await open(both);
  if (opened instanceof AppError) throw opened;
  expect(opened.config.stopIds[0]).toBe(JSON.parse(first.file.text).eos_token_id);
  expect(opened.tokenizer.chatTemplate).toBe(none.file.text);
  expect(opened.files.map(({ name }) => name)).toEqual(expect.arrayContaining(['m/generation_config.json', 'm/chat_template.jinja']));
});

test('nothing is asked where conv_template says it', async () => {
  const picked = bare((chat) => {
    delete chat.eos_token_id;
    chat.conv_template = {
      roles: { user: 'U', assistant: 'A' },
      seps: ['\n'],
      role_content_sep: ': ',
      role_empty_sep: ':',
      stop_token_ids: [5],
    };
  });
  const opened = await open(picked);
  if (opened instanceof AppError) throw opened;
  expect(opened.config.stopIds).toContain(5);
  const template = new Template(opened.tokenizer.chatTemplate ?? '');
  expect(template.render({ messages: [{ role: 'user', content: 'hi' }], add_generation_prompt: true })).toBe('U: hi\nA:');
});

test('layouts are offered where the tokenizer has their tokens, and each renders', () => {
  const tokens = JSON.stringify([
    [2, '<|im_end|>'],
    [1, '<|im_start|>'],
    [3, '</s>'],
    [4, '<|eot_id|>'],
    [5, '<|start_header_id|>'],
  ]);
  const error = (facts: Readonly<Record<string, string>>): AppError => new AppError('mlc/no-layout', 'x', { facts });
  const question = questionOf(error({ tokens, conv_template: 'llama-3_1' }));
  expect(question?.answers).toHaveLength(4);
  expect(question?.answers[question.proposed]?.label).toMatch(/^Llama 3/);
  const messages = [
    { role: 'system', content: 'S' },
    { role: 'user', content: 'hi' },
  ];
  const rendered = question?.answers.map(({ file }) => new Template(file.text).render({ messages, add_generation_prompt: true }));
  expect(rendered).toEqual([
    '<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n',
    '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n',
    '<|system|>\nS</s>\n<|user|>\nhi</s>\n<|assistant|>\n',
    'S\nhi\n',
  ]);
  expect(questionOf(error({ tokens: '[]' }))?.answers.map(({ label }) => label)).toEqual([expect.stringMatching(/^None/)]);
  expect(questionOf(new AppError('mlc/no-stops', 'x', { facts: { tokens: '[]' } }))).toBeUndefined();
  expect(questionOf(new AppError('mlc/index', 'x'))).toBeUndefined();
  expect(questionOf(undefined)).toBeUndefined();
});
