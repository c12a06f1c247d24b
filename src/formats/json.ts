// Strict JSON (RFC 8259) for files from strangers: objects become Maps, so that no name can touch a prototype, and a name that stands twice is an
// error, where JSON.parse keeps the last one without a word.
import { AppError } from '../lib/error.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonMap;
export type JsonMap = ReadonlyMap<string, JsonValue>;

export interface JsonLimits {
  /** What the text is, for the error: a file's name. */
  readonly name: string;
  readonly maxDepth?: number;
  /** Numbers must be written as digits alone; any other number becomes NaN, so that 2.0, -1 and 1e3 fail the reader's range check. */
  readonly wholeNumbers?: boolean;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const DIGITS = /^(?:0|[1-9]\d*)$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids raw control characters inside strings
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);

/** @throws 'format/json' with the position, 'format/duplicate-name' with the name. */
export function parseJson(text: string, limits: JsonLimits): JsonValue {
  const maxDepth = limits.maxDepth ?? 64;
  let at = 0;

  const fail = (what: string): AppError =>
    new AppError('format/json', `${limits.name} is not valid JSON: ${what} at character ${at + 1}.`, {
      why: 'The file is damaged, was cut, or is of another kind.',
      fix: 'Get the file again from where it came.',
      facts: { file: limits.name, position: at },
    });
  const skipSpace = (): void => {
    // Tab, line feed, carriage return, space; by code, since most texts have none of them here.
    for (let c = text.charCodeAt(at); c === 32 || c === 10 || c === 13 || c === 9; c = text.charCodeAt(at)) at++;
  };
  const unit = (): number => {
    const hex = text.slice(at, at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(hex)) throw fail('a broken \\u escape');
    at += 4;
    return Number.parseInt(hex, 16);
  };
  const string = (): string => {
    at++;
    let out = '';
    for (;;) {
      PLAIN.lastIndex = at;
      PLAIN.test(text);
      const plain = text.slice(at, PLAIN.lastIndex);
      at = PLAIN.lastIndex;
      out = out === '' ? plain : out + plain;
      const c = text[at];
      if (c === '"') {
        at++;
        return out;
      }
      if (c !== '\\') throw fail(c === undefined ? 'a text without an end' : 'a control character in a text');
      const letter = text[at + 1];
      at += 2;
      if (letter !== 'u') {
        const meaning = ESCAPES.get(letter ?? '');
        if (meaning === undefined) throw fail('an unknown escape');
        out += meaning;
        continue;
      }
      const first = unit();
      if (first < 0xd800 || first > 0xdfff) {
        out += String.fromCharCode(first);
        continue;
      }
      if (first > 0xdbff || text.slice(at, at + 2) !== '\\u') throw fail('half a surrogate pair');
      at += 2;
      const second = unit();
      if (second < 0xdc00 || second > 0xdfff) throw fail('half a surrogate pair');
      out += String.fromCharCode(first, second);
    }
  };
  const constant = (length: number, meaning: boolean | null): boolean | null => {
    at += length;
    return meaning;
  };
  const value = (depth: number): JsonValue => {
    if (depth > maxDepth) throw fail(`more than ${maxDepth} levels`);
    const c = text[at];
    if (c === '"') return string();
    if (c === '{') return object(depth);
    if (c === '[') return array(depth);
    if (c === 't' && text.startsWith('true', at)) return constant(4, true);
    if (c === 'f' && text.startsWith('false', at)) return constant(5, false);
    if (c === 'n' && text.startsWith('null', at)) return constant(4, null);
    NUMBER.lastIndex = at;
    if (!NUMBER.test(text)) throw fail(c === undefined ? 'the end of the text' : 'an unexpected character');
    const digits = text.slice(at, NUMBER.lastIndex);
    at = NUMBER.lastIndex;
    return limits.wholeNumbers && !DIGITS.test(digits) ? Number.NaN : Number(digits);
  };
  const array = (depth: number): JsonValue => {
    at++;
    const out: JsonValue[] = [];
    skipSpace();
    if (text[at] === ']') {
      at++;
      return out;
    }
    for (;;) {
      skipSpace();
      out.push(value(depth + 1));
      skipSpace();
      if (text[at] === ']') break;
      if (text[at] !== ',') throw fail('a missing comma or ]');
      at++;
    }
    at++;
    return out;
  };
  const object = (depth: number): JsonValue => {
    at++;
    const out = new Map<string, JsonValue>();
    skipSpace();
    if (text[at] === '}') {
      at++;
      return out;
    }
    for (;;) {
      skipSpace();
      if (text[at] !== '"') throw fail('a missing name');
      const name = string();
      if (out.has(name))
        throw new AppError('format/duplicate-name', `${limits.name} has the name ${shown(name)} twice.`, {
          why: 'Programs differ in which of the two they take, so such a file can mean two things.',
          fix: 'Get the file from another source, or write it again with the program that made it.',
          facts: { file: limits.name, name },
        });
      skipSpace();
      if (text[at] !== ':') throw fail('a missing colon');
      at++;
      skipSpace();
      out.set(name, value(depth + 1));
      skipSpace();
      if (text[at] === '}') break;
      if (text[at] !== ',') throw fail('a missing comma or }');
      at++;
    }
    at++;
    return out;
  };

  skipSpace();
  const result = value(1);
  skipSpace();
  if (at !== text.length) throw fail('text after the end');
  return result;
}

export function isJsonMap(value: JsonValue | undefined): value is JsonMap {
  return value instanceof Map;
}

/** A name from a file as an error may show it: in quotes, cut after 80 characters. */
export function shown(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
