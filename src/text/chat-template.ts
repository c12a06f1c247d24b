import { Template } from '@huggingface/jinja';
import { AppError } from '../lib/error.ts';
import type { TemplateContext } from './types.ts';

/** Caps for a program from a stranger (reliability.md section 3, row 10). Time is capped outside: the worker that renders is ended. */
export const MAX_SOURCE_BYTES = 64 * 1024;
export const MAX_OUTPUT_BYTES = 1_000_000;

const byteLength = (text: string): number => new TextEncoder().encode(text).length;

function tooLarge(what: string, bytes: number, limit: number, fix: string): AppError {
  return new AppError('template/too-large', `${what} has ${bytes} bytes; the limit is ${limit}.`, { fix, facts: { bytes, limit } });
}

/**
 * A chat template filled in, with the names that transformers' `apply_chat_template` gives it. Synchronous and without a time limit: call it where it
 * can be ended. @throws 'template/failed' with the template's own message, 'template/too-large'
 */
export function renderTemplate(source: string, context: TemplateContext): string {
  // A UTF-16 unit is at least one byte, so an endless text is refused before it is measured.
  const sourceBytes = source.length > MAX_SOURCE_BYTES ? source.length : byteLength(source);
  if (sourceBytes > MAX_SOURCE_BYTES) {
    throw tooLarge('The chat template', sourceBytes, MAX_SOURCE_BYTES, 'Choose a model with a shorter template, or replace its template.');
  }
  let text: string;
  try {
    text = new Template(source).render({
      messages: context.messages.map(({ role, content }) => ({ role, content })),
      add_generation_prompt: context.addGenerationPrompt,
      bos_token: context.bosToken,
      eos_token: context.eosToken,
      // transformers passes None, and many templates ask `tools is not none`.
      tools: null,
      documents: null,
    });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('template/failed', `The chat template of this model stopped: ${message}`, {
      why: 'A chat template is a small program that comes with the model and decides which conversations it accepts.',
      fix: 'Change the system prompt or the order of the turns, or choose another model.',
      cause,
      facts: { message },
    });
  }
  if (typeof text !== 'string') {
    throw new AppError('template/failed', 'The chat template of this model gave no text.', {
      fix: 'Choose another model, or replace its template.',
    });
  }
  const bytes = text.length > MAX_OUTPUT_BYTES ? text.length : byteLength(text);
  if (bytes > MAX_OUTPUT_BYTES)
    throw tooLarge('The text that the chat template made', bytes, MAX_OUTPUT_BYTES, 'Shorten the row, or choose another model.');
  return text;
}
