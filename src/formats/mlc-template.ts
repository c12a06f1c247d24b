// `conv_template` of mlc-chat-config.json as Jinja, so that one renderer lays out every chat. The rules are those of `Conversation.as_prompt` in
// mlc-llm (protocol/conversation_protocol.py): system text, then for each message role, content separator, content, separator.
import * as v from 'valibot';
import { AppError } from '../lib/error.ts';
import { shown } from './json.ts';
import { property } from './model-files.ts';

const texts = v.record(v.string(), v.string());
const Conversation = v.looseObject({
  system_template: v.optional(v.string(), '{system_message}'),
  system_message: v.optional(v.string(), ''),
  render_empty_system_message: v.optional(v.boolean(), true),
  system_prefix_token_ids: v.nullish(v.array(v.number())),
  add_role_after_system_message: v.optional(v.boolean(), true),
  roles: v.looseObject({ user: v.string(), assistant: v.string() }),
  role_templates: v.nullish(texts),
  seps: v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(2)),
  role_content_sep: v.optional(v.string(), ''),
  role_empty_sep: v.optional(v.string(), ''),
});

/** Undefined where there is only a name: MLC keeps those layouts in its own source. @throws 'mlc/chat-config' */
export function mlcTemplate(template: unknown, tokenizer: object): string | undefined {
  if (property(template, 'roles') === undefined) return undefined;
  const parsed = v.safeParse(Conversation, template);
  if (!parsed.success) {
    const issue = parsed.issues[0];
    throw bad(`at ${v.getDotPath(issue) ?? 'conv_template'}, ${issue.message}`);
  }
  const c = parsed.output;
  const [systemBefore, systemAfter] = around(c.system_template, '{system_message}');
  const silent = c.system_message === '' && !c.render_empty_system_message;
  const untold = silent ? '' : systemBefore + c.system_message + systemAfter;
  const [userBefore, userAfter] = around(c.role_templates?.user ?? '{user_message}', '{user_message}');
  const [answerBefore, answerAfter] = around(c.role_templates?.assistant ?? '{assistant_message}', '{assistant_message}');
  const prefix = (c.system_prefix_token_ids ?? []).map((id) => tokenText(id, tokenizer)).join('');
  const [userEnd, answerEnd] = [c.seps[0], c.seps[1] ?? c.seps[0]];
  const user = literal(c.roles.user + c.role_content_sep);
  const answer = literal(c.roles.assistant + c.role_content_sep);
  // Without add_role_after_system_message the first message goes on from the system text, where there is one.
  const bare = c.add_role_after_system_message ? 'false' : "loop.first and system != ''";
  return [
    `{%- if messages and messages[0]['role'] == 'system' -%}`,
    `{%- set system = ${literal(systemBefore)} + messages[0]['content'] + ${literal(systemAfter)} -%}{%- set rest = messages[1:] -%}`,
    `{%- else -%}{%- set system = ${literal(untold)} -%}{%- set rest = messages -%}{%- endif -%}`,
    `{{- ${literal(prefix)} + system -}}`,
    `{%- for message in rest -%}{%- if message['role'] == 'user' -%}`,
    `{{- ('' if ${bare} else ${user}) + ${literal(userBefore)} + message['content'] + ${literal(userAfter + userEnd)} -}}`,
    `{%- else -%}{{- ('' if ${bare} else ${answer}) + ${literal(answerBefore)} + message['content'] + ${literal(answerAfter + answerEnd)} -}}`,
    `{%- endif -%}{%- endfor -%}`,
    `{%- if add_generation_prompt -%}{{- ${literal(c.roles.assistant + c.role_empty_sep)} -}}{%- endif -%}`,
  ].join('');
}

/** Ids that end an answer: `stop_token_ids`, and each `stop_str` that is one token. Texts of several tokens are no stops of this program. */
export function mlcStops(template: unknown, tokenizer: object): readonly number[] {
  const numbers = property(template, 'stop_token_ids');
  const words = property(template, 'stop_str');
  const isText = (word: unknown): boolean => typeof word === 'string';
  const found = [
    ...(Array.isArray(numbers) ? numbers : []),
    ...added(tokenizer)
      .filter(({ content }) => (Array.isArray(words) ? words.filter(isText) : [words]).includes(content))
      .map(({ id }) => id),
  ].filter((id): id is number => typeof id === 'number' && Number.isSafeInteger(id) && id >= 0);
  return [...new Set(found)];
}

function around(text: string, mark: string): readonly [before: string, after: string] {
  const at = text.indexOf(mark);
  if (at < 0) throw bad(`${shown(text)} has no ${mark}`);
  return [text.slice(0, at), text.slice(at + mark.length)];
}

/** A Jinja string, escaped as the template engine reads it. */
function literal(text: string): string {
  return `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'").replace(/\n/g, '\\n').replace(/\r/g, '\\r').replace(/\t/g, '\\t')}'`;
}

function tokenText(id: number, tokenizer: object): string {
  const text = added(tokenizer).find((token) => token.id === id)?.content;
  if (text === undefined) throw bad(`system_prefix_token_ids has ${id}, which is no special token of tokenizer.json`);
  return text;
}

/** The special tokens of a tokenizer, for a person to choose from: `[id, text]` as JSON, those that look like an end first. */
export function specialTokens(tokenizer: object): string {
  const ends = (text: string): number => (/end|eos|eot|<\/s>|im_end/i.test(text) ? 0 : 1);
  const all = added(tokenizer).filter(({ id, content }) => typeof id === 'number' && content.length <= 40);
  return JSON.stringify(
    all
      .toSorted((a, b) => ends(a.content) - ends(b.content))
      .slice(0, 60)
      .map(({ id, content }) => [id, content]),
  );
}

function added(tokenizer: object): readonly { readonly id: unknown; readonly content: string }[] {
  const tokens = property(tokenizer, 'added_tokens');
  return (Array.isArray(tokens) ? tokens : []).flatMap((token) => {
    const content = property(token, 'content');
    return typeof content === 'string' ? [{ id: property(token, 'id'), content }] : [];
  });
}

function bad(what: string): AppError {
  return new AppError('mlc/chat-config', `The conv_template of mlc-chat-config.json cannot be used: ${what}.`, {
    why: 'The file is damaged, was edited, or is of a version that is not read here.',
    fix: 'Get it again from where the shards came from, or put a tokenizer_config.json with a chat_template beside it.',
  });
}
