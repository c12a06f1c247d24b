import { describe, expect, it } from 'vitest';
import { AppError } from '../../src/lib/error.ts';
import { MAX_OUTPUT_BYTES, MAX_SOURCE_BYTES, renderTemplate } from '../../src/text/chat-template.ts';
import type { TemplateContext } from '../../src/text/types.ts';

const context: TemplateContext = {
  messages: [
    { role: 'system', content: 'Be short.' },
    { role: 'user', content: 'Hi' },
  ],
  addGenerationPrompt: true,
  bosToken: '<s>',
  eosToken: '</s>',
};
const chatml =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

function failure(run: () => unknown): AppError {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('renderTemplate', () => {
  it('fills in ChatML with and without the generation prompt', () => {
    const turns = '<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n';
    expect(renderTemplate(chatml, context)).toBe(`${turns}<|im_start|>assistant\n`);
    expect(renderTemplate(chatml, { ...context, addGenerationPrompt: false })).toBe(turns);
  });

  it('gives the names that transformers gives: tokens, no tools, a clock, block trimming', () => {
    expect(renderTemplate('{{ bos_token }}{{ eos_token }}{% if tools is not none %}tools{% endif %}', context)).toBe('<s></s>');
    expect(renderTemplate("{{ strftime_now('%Y') }}", context)).toMatch(/^\d{4}$/);
    expect(renderTemplate('{% if true %}\n  {% if true %}\na\n  {% endif %}\n{% endif %}\n', context)).toBe('a\n');
  });

  it("carries the template's own message", () => {
    const error = failure(() => renderTemplate("{{ raise_exception('System role not supported') }}", context));
    expect(error.code).toBe('template/failed');
    expect(error.facts.message).toBe('System role not supported');
    expect(failure(() => renderTemplate('{% if %}', context)).code).toBe('template/failed');
    expect(failure(() => renderTemplate('('.repeat(20_000).replace('(', '{{ ('), context)).code).toBe('template/failed');
  });

  it('refuses a source over 64 kB and a text over 1 MB', () => {
    expect(failure(() => renderTemplate('x'.repeat(MAX_SOURCE_BYTES + 1), context)).code).toBe('template/too-large');
    expect(failure(() => renderTemplate('é'.repeat(MAX_SOURCE_BYTES / 2 + 1), context)).code).toBe('template/too-large');
    const doubling = `{% set ns = namespace(s='0123456789') %}{% for i in range(18) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}`;
    const error = failure(() => renderTemplate(doubling, context));
    expect(error.code).toBe('template/too-large');
    expect(error.facts.limit).toBe(MAX_OUTPUT_BYTES);
  });

  it.each([
    ['{{'],
    ['{% for x in messages %}'],
    ['{% endfor %}'],
    ['{{ missing.field.deeper }}'],
    ['{{ missing() }}'],
    ["{{ messages[99]['content'] }}"],
    ['{{ 1 / 0 }}'],
    ['{{ messages | nosuchfilter }}'],
    ["{% include '/etc/passwd' %}"],
    ["{% import 'os' as os %}{{ os }}"],
    ['{{ self.__init__.__globals__ }}'],
    ["{{ ''.__class__.__mro__[1].__subclasses__() }}"],
    ["{{ messages.constructor.constructor('return process')() }}"],
    ["{{ raise_exception.constructor('return process')() }}"],
    ['{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}'],
    [`{{ ${'('.repeat(5000)}1${')'.repeat(5000)} }}`],
    [`${'{% if true %}'.repeat(3000)}x${'{% endif %}'.repeat(3000)}`],
    ['{{ messages | tojson(indent=9999999) }}'],
    ["{{ 'x' * 9999999 }}"],
    ['{% set messages = 5 %}{{ messages[0].content }}'],
  ])('ends a hostile template with a text or an AppError: %.40s', (source) => {
    const before = Object.getOwnPropertyNames(Object.prototype).length;
    try {
      expect(renderTemplate(source, context)).not.toContain('process');
    } catch (error) {
      expect(error).toBeInstanceOf(AppError);
    }
    expect(Object.getOwnPropertyNames(Object.prototype)).toHaveLength(before);
  });

  it('does not reach prototypes', () => {
    expect(renderTemplate("{{ messages[0]['__proto__'] }}{{ messages.constructor }}{{ messages[0].constructor }}", context)).toBe('');
  });
});
