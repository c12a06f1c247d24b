import type { Message } from '../text/types.ts';
import { ANSWER_NAMES, CONTEXT_NAMES, fieldName, INPUT_NAMES, SYSTEM_NAMES } from './columns.ts';
import { type Draft, draftOf } from './rows.ts';

export type RowKind = 'jsonl-chat' | 'alpaca' | 'prompt-completion';
export type ParsedRow = { readonly ok: true; readonly kind: RowKind; readonly draft: Draft } | { readonly ok: false; readonly why: string };

// biome-ignore format: a list of words reads better in rows
const ROLES: Readonly<Record<string, Message['role']>> = {
  system: 'system', developer: 'system', user: 'user', human: 'user', assistant: 'assistant', gpt: 'assistant', model: 'assistant',
  bot: 'assistant', chatgpt: 'assistant', function_call: 'assistant', tool: 'tool', function: 'tool', observation: 'tool',
  ipython: 'tool',
};

/** The names under which a row keeps its turns. */
const TURNS = ['messages', 'conversations', 'conversation'];

type Fields = ReadonlyMap<string, unknown>;
/** A JSON object's own fields. A Map, so that a field called "__proto__" is a field. */
const fieldsOf = (value: unknown): Fields | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? new Map(Object.entries(value)) : undefined;

/** A value as text: words and numbers as they are, a list of texts joined by spaces; undefined where it is none of these. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value) && value.length > 0 && value.every((part) => typeof part === 'string')) return value.join(' ');
  return undefined;
}

/** The accepted answers in a field: a text, a list of texts (each accepted), or SQuAD's `{ text: [...] }`. */
function answersOf(value: unknown): string[] {
  const inner = fieldsOf(value)?.get('text') ?? value;
  const list: readonly unknown[] = Array.isArray(inner) ? inner : [inner];
  return list.flatMap((item) => {
    const text = textOf(fieldsOf(item)?.get('text') ?? item);
    return text === undefined ? [] : [text];
  });
}

/** Content of a message: a text, or parts of which the texts are kept; a call of a tool is kept as its JSON. */
function contentOf(fields: Fields): string | undefined {
  const content = fields.get('content') ?? fields.get('value') ?? fields.get('text');
  if (Array.isArray(content)) {
    const texts = content.flatMap((part) => textOf(fieldsOf(part)?.get('text') ?? part) ?? []);
    return texts.length > 0 ? texts.join('\n') : undefined;
  }
  const text = textOf(content);
  const calls = fields.get('tool_calls') ?? fields.get('function_call');
  if ((text === undefined || text === '') && calls !== undefined && calls !== null) return JSON.stringify(calls);
  return text;
}

function chatRow(list: unknown, fields: Fields): ParsedRow {
  if (!Array.isArray(list)) return { ok: false, why: 'has messages that are not a list' };
  const messages: Message[] = [];
  const system = textOf(fields.get('system'));
  if (system !== undefined && system.trim() !== '') messages.push({ role: 'system', content: system });
  for (const item of list) {
    const message = fieldsOf(item);
    if (message === undefined) return { ok: false, why: 'has a message that is not an object' };
    const name = textOf(message.get('role') ?? message.get('from')) ?? '';
    const role = Object.hasOwn(ROLES, name.toLowerCase()) ? ROLES[name.toLowerCase()] : undefined;
    if (role === undefined) return { ok: false, why: `has a message of the role "${name.slice(0, 40)}", which is not known` };
    const content = contentOf(message);
    if (content === undefined) return { ok: false, why: `has a message of the role "${role}" without text` };
    messages.push({ role, content });
  }
  // The last answer is what is learned; turns after it have none.
  const last = messages.findLastIndex(({ role }) => role === 'assistant');
  const before = last < 0 ? messages : messages.slice(0, last);
  if (!before.some(({ role, content }) => role !== 'system' && content.trim() !== ''))
    return { ok: false, why: 'has no message before the answer' };
  const answers = last < 0 ? [] : [messages[last].content, ...answersOf(fields.get('answers'))];
  const id = textOf(fields.get('id'));
  const targets = [...new Set(answers.filter((answer) => answer.trim() !== ''))];
  return { ok: true, kind: 'jsonl-chat', draft: { messages: before, targets, ...(id === undefined ? {} : { id }) } };
}

/** The first of these names that the row has, and its value. */
function pick(fields: Fields, names: readonly string[]): { readonly name: string; readonly value: unknown } | undefined {
  for (const name of names) {
    for (const [field, value] of fields) if (fieldName(field) === name) return { name: field, value };
  }
  return undefined;
}

function fieldRow(fields: Fields): ParsedRow {
  const answer = pick(fields, ANSWER_NAMES);
  const answers = answer === undefined ? [] : answersOf(answer.value);
  const instruction = textOf(fields.get('instruction'));
  const system = textOf(pick(fields, SYSTEM_NAMES)?.value);
  const id = textOf(fields.get('id'));
  const rest = { answers, ...(system === undefined ? {} : { system }), ...(id === undefined ? {} : { id }) };
  if (instruction !== undefined) {
    const input = textOf(fields.get('input')) ?? '';
    const text = [instruction, input].filter((part) => part.trim() !== '').join('\n');
    return text === ''
      ? { ok: false, why: 'has an empty instruction' }
      : { ok: true, kind: 'alpaca', draft: draftOf({ ...rest, input: text }) };
  }
  const main = pick(
    fields,
    INPUT_NAMES.filter((name) => !CONTEXT_NAMES.includes(name)),
  );
  const context = pick(fields, CONTEXT_NAMES);
  const chosen = [context, main].flatMap((part) => (part === undefined || part.name === answer?.name ? [] : [textOf(part.value) ?? '']));
  if (chosen.length === 0)
    return { ok: false, why: `has none of the fields that name an input (its fields: ${[...fields.keys()].slice(0, 6).join(', ')})` };
  const input = chosen.filter((part) => part.trim() !== '').join('\n');
  return input === ''
    ? { ok: false, why: 'has an empty input' }
    : { ok: true, kind: 'prompt-completion', draft: draftOf({ ...rest, input }) };
}

/** One JSON value to one row: chat (`messages`, or `conversations` as ShareGPT has them), Alpaca, or an input and an answer under any of their usual names. */
export function rowOfJson(value: unknown): ParsedRow {
  if (Array.isArray(value)) return { ok: false, why: 'is a list, not an object with named fields' };
  const fields = fieldsOf(value);
  if (fields === undefined)
    return { ok: false, why: `is ${value === null ? 'null' : `a bare ${typeof value}`}, not an object with named fields` };
  const list = TURNS.map((name) => fields.get(name)).find((turns) => turns !== undefined);
  return list === undefined ? fieldRow(fields) : chatRow(list, fields);
}

/** SQuAD's nesting as rows with `context`, `question`, `answers`; the rows inside `data`, `examples`, `rows` or the first list of an object. */
export function rowsInside(value: unknown): readonly unknown[] | undefined {
  const fields = fieldsOf(value);
  if (fields === undefined) return undefined;
  const list =
    ['data', 'examples', 'rows', 'train', 'instances'].map((name) => fields.get(name)).find(Array.isArray) ??
    [...fields].find(([name, value]) => !TURNS.includes(name) && isListOfRows(value))?.[1];
  if (!Array.isArray(list)) return undefined;
  return list.flatMap((item: unknown) => {
    const paragraphs = fieldsOf(item)?.get('paragraphs');
    if (!Array.isArray(paragraphs)) return [item];
    return paragraphs.flatMap((paragraph: unknown) => {
      const inside = fieldsOf(paragraph);
      const qas = inside?.get('qas');
      return Array.isArray(qas)
        ? qas.map((qa: unknown) => ({ ...Object.fromEntries(fieldsOf(qa) ?? []), context: inside?.get('context') }))
        : [];
    });
  });
}
const isListOfRows = (value: unknown): value is unknown[] =>
  Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'object' && item !== null);

/** Where each value of a JSON list begins and ends in the text. Knows strings and nesting only, so it also walks a list that breaks off. */
export function* listItems(text: string): Generator<{ readonly start: number; readonly end: number }> {
  let depth = 0;
  let start = -1;
  let inString = false;
  for (let i = text.indexOf('[') + 1; i < text.length; i++) {
    const c = text[i];
    if (inString) {
      if (c === '\\') i++;
      else if (c === '"') inString = false;
      continue;
    }
    const ends = depth === 0 && (c === ',' || c === ']');
    if (ends) {
      if (start >= 0) yield { start, end: i };
      start = -1;
      if (c === ']') return;
      continue;
    }
    if (start < 0 && !/\s/.test(c)) start = i;
    if (c === '"') inString = true;
    else if (c === '{' || c === '[') depth++;
    else if (c === '}' || c === ']') depth--;
  }
  if (start >= 0) yield { start, end: text.length };
}
